"""Runs on a server: the same map as here, one plain sentence for what goes wrong, and no file left behind."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from IR2QSMLib.core.errors import FileUnreadable, ParameterInvalid, ServerUnavailable
from IR2QSMLib.server.client import Server
from Testing.Library.servers import held_run

Start = Callable[..., Any]
Run = Callable[..., Any]
TKD = ("--method", "tkd", "--progress", "json")


def nothing(*_arguments: object) -> None:
    """A callback."""


def test_a_server_makes_the_same_map(start_server: Start, ir2qsm: Run, case: Any, tmp_path: Path) -> None:
    server = start_server()
    here, there, field = tmp_path / "here", tmp_path / "there", tmp_path / "scan" / "sub-1_part-phase_fieldmap.nii.gz"
    field.parent.mkdir()
    field.write_bytes(case.field.read_bytes())
    (field.parent / "sub-1_fieldmap.json").write_text('{"Units": "ppm", "B0_dir": [0, 0.1, 1]}')  # which it inherits
    for folder, options in ((here, ["--device", "cpu"]), (there, server.options())):
        folder.mkdir()
        files = ["-o", folder / "chi.nrrd", "--mask-output", folder / "mask.nii.gz"]
        ran = ir2qsm("reconstruct", field, case.mask, "--input", "local-field", *files, *TKD, *options)
        assert ran.code == 0, ran
    *progress, result = ran.events()
    assert result["chi"] == str(there / "chi.nrrd") and result["mask"] == str(there / "mask.nii.gz")
    fractions = [event["fraction"] for event in progress]
    assert fractions == sorted(fractions) and fractions[-1] == 1.0 and "sending" in {e["stage"] for e in progress}
    for name in ("chi.nrrd", "mask.nii.gz"):
        assert (here / name).read_bytes() == (there / name).read_bytes()
    local, remote = (json.loads((f / "chi.json").read_text()) for f in (here, there))
    assert remote.pop("Server") == socket.gethostname() and "Server" not in local
    assert remote | {"Seconds": 0} == local | {"Seconds": 0} and result["warnings"] == local["Warnings"]
    assert sorted(path.name for path in there.iterdir()) == ["chi.json", "chi.nrrd", "mask.nii.gz"]
    server.require_empty()
    assert TKD[1] in server.said[-1] and str(tmp_path) not in "".join(server.said)


@pytest.fixture
def refused_by(start_server: Start, refused: Callable[..., str]) -> Iterator[Callable[..., str]]:
    """The sentence for a run that a server refuses; nothing is written, here or there."""
    server = start_server(queue=0, upload=30_000)

    def run(*options: object, **changes: object) -> str:
        text = refused(*(options or server.options()), **changes)
        server.require_empty()
        return text

    run.server = server  # type: ignore[attr-defined]
    return run


def test_a_wrong_token_is_refused(refused_by: Any, tmp_path: Path) -> None:
    (tmp_path / "other").write_text("another-token-of-these-tests")
    options = ["--server", refused_by.server.address, "--token-file", tmp_path / "other"]
    assert refused_by(*options) == "The server does not know this token; give the file with the server's token."


def test_files_that_are_too_large_are_refused_before_they_are_sent(refused_by: Any) -> None:
    assert "MB together and the server accepts 0 MB" in refused_by()


def test_an_input_that_is_missing_is_named(refused_by: Any, tmp_path: Path) -> None:
    assert refused_by(mask=tmp_path / "none.nii") == "none.nii does not exist; check the path."


def test_an_address_where_nothing_answers_is_named(refused_by: Any) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    options = ["--server", f"http://127.0.0.1:{port}", *refused_by.server.options()[2:]]
    assert refused_by(*options).startswith(f"No server answers at 127.0.0.1, port {port}; start it with ir2qsm serve")


@pytest.mark.parametrize(
    "address", ["name:8765", "ftp://name", "http://", "http://a:b@c", "http://name/x", "http://n:x"]
)
def test_an_address_that_is_none_is_refused(address: str) -> None:
    with pytest.raises(ParameterInvalid, match="The address of a server is http:// or https://") as caught:
        Server(address, "token")
    assert caught.value.option == "server"


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--token-file", "x"], "--token-file goes with --server"),
        (["--server", "http://127.0.0.1:1", "--device", "cpu"], "The server chooses its device; leave --device out."),
        (["--server", "http://127.0.0.1:1"], "A server needs a token"),
        (["--server", "http://127.0.0.1:1", "--token-file", "none"], "The token file none cannot be read"),
    ],
)
def test_options_that_do_not_go_together_are_refused(
    refused: Callable[..., str], monkeypatch: pytest.MonkeyPatch, options: list[str], sentence: str
) -> None:
    monkeypatch.delenv("IR2QSM_TOKEN", raising=False)
    assert refused(*options).startswith(sentence)


def test_another_version_is_refused(start_server: Start, small_run: Any) -> None:
    server = start_server()
    answer = server.answer(server.head(4, version="0.0.9"))
    assert b"409" in answer and b"this computer 0.0.9; install the same version on both" in answer
    server.require_empty()


def test_a_full_queue_is_refused(start_server: Start, small_run: Any) -> None:
    server = start_server(queue=0)
    head = small_run().to_json()
    with held_run(server):
        assert server.client().info()["full"]
        with pytest.raises(ServerUnavailable, match="queue is full"):
            server.client().require_ready(1)
        with pytest.raises(ServerUnavailable, match="queue is full"):  # as when it fills up meanwhile
            server.client().run(small_run(), [b"1234"], nothing, nothing, nothing)
        assert b"503" in server.answer(server.head(len(head) + 4) + head + b"1234")
    server.require_empty()
    assert not server.client().info()["full"]


def test_a_connection_that_drops_leaves_nothing(start_server: Start, small_run: Any) -> None:
    server = start_server()
    with held_run(server):
        pass
    server.require_empty()
    head = small_run().to_json()
    with server.connect(server.head(len(head) + 4) + head + b"12"):
        pass
    server.require_empty()


def test_an_upload_that_does_not_end_is_given_up(start_server: Start) -> None:
    server = start_server(seconds=0.1)
    answer = server.answer(server.head(1000) + b"{")
    assert b" 408 " in answer and b"The files did not come in time; send them again" in answer
    server.require_empty()


def test_a_file_that_names_another_one_is_refused_by_the_server(start_server: Start, small_run: Any) -> None:
    server = start_server()
    with pytest.raises(FileUnreadable, match=r"field\.nii is not a NIfTI file") as caught:
        server.client().run(small_run(), [b"1234"], nothing, nothing, nothing)
    assert caught.value.option == "field"
    server.require_empty()


def test_a_server_that_ends_in_the_midst_is_a_lost_connection(start_server: Start, small_run: Any) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        client = Server(f"http://127.0.0.1:{listener.getsockname()[1]}", "token")
        lines = b'{"event": "progress", "fraction": 0.5, "stage": "inversion"}\n{"event": "fi'
        answers = [b"", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n" % (len(lines), lines)]

        def answer_once(text: bytes) -> Callable[[float], None]:
            def sent(fraction: float) -> None:
                if fraction == 1.0:
                    connection, _ = listener.accept()
                    with connection:
                        connection.recv(65536)
                        connection.sendall(text)

            return sent

        for text in answers:
            with pytest.raises(ServerUnavailable, match=r"The connection to .* was lost"):
                client.run(small_run(), [b"1234"], nothing, answer_once(text), nothing)
