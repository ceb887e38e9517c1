"""`ir2qsm serve`: who may reach it, with which token, and what stays of a server that was killed."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from IR2QSMLib.core.errors import FileUnreadable, ParameterInvalid, ServerUnavailable
from IR2QSMLib.server.client import Server
from IR2QSMLib.server.folders import PREFIX, ServerFolder
from IR2QSMLib.server.listen import is_loopback, open_socket, require_certificate
from IR2QSMLib.server.tokens import is_token, make_token_file, read_token

ROOT = Path(__file__).resolve().parents[3]
CERTIFICATE = Path(__file__).with_name("certificate.pem")
"""Certificate of 127.0.0.1, signed by itself, with its key."""
Refused = Callable[..., str]


# Who may reach it.


@pytest.mark.parametrize(
    ("host", "loopback"),
    [("127.0.0.1", True), ("::1", True), ("localhost", True), ("0.0.0.0", False), ("::", False), ("10.0.0.1", False)],
)
def test_only_this_computer_reaches_a_loopback_address(host: str, loopback: bool) -> None:
    assert is_loopback(host) is loopback


def test_other_computers_need_encryption_or_an_explicit_word() -> None:
    with pytest.raises(ParameterInvalid, match="give --certificate and --key, or keep"):
        open_socket("0.0.0.0", 0, tls=False, insecure=False)
    for settings in ({"tls": True, "insecure": False}, {"tls": False, "insecure": True}):
        open_socket("0.0.0.0", 0, **settings).close()


def test_a_port_that_is_taken_is_named() -> None:
    with (
        open_socket("127.0.0.1", 0, False, False) as taken,
        pytest.raises(ParameterInvalid, match="choose another --host or --port"),
    ):
        open_socket("127.0.0.1", taken.getsockname()[1], False, False)


def test_a_certificate_of_its_own_is_trusted_once_the_client_has_it(start_server: Any) -> None:
    require_certificate(CERTIFICATE, CERTIFICATE)
    server = start_server(CERTIFICATE, CERTIFICATE)
    token = server.token_file.read_text()
    assert Server(server.address, token, CERTIFICATE).info()["full"] is False
    with pytest.raises(
        ServerUnavailable, match=r"is not trusted \(self.signed certificate\); give it with --server-cert"
    ):
        Server(server.address, token).info()
    with pytest.raises(
        ServerUnavailable, match=r"was lost; see whether .* its address begins with http:// or https://"
    ):
        Server(server.address.replace("https", "http"), token).info()


def test_a_server_without_tls_is_told_apart(start_server: Any) -> None:
    server = start_server()
    with pytest.raises(ServerUnavailable, match="does not speak TLS; correct the address"):
        Server(server.address.replace("http", "https"), "token", CERTIFICATE).info()


def test_a_certificate_that_is_none_is_refused(tmp_path: Path) -> None:
    (tmp_path / "c.pem").write_text("no certificate")
    with pytest.raises(FileUnreadable, match=r"c\.pem and its key cannot be used for TLS"):
        require_certificate(tmp_path / "c.pem", None)
    with pytest.raises(FileUnreadable, match=r"The certificate c\.pem cannot be read"):
        Server("https://127.0.0.1:1", "token", tmp_path / "c.pem")


# The token.


def test_a_token_is_made_once_and_for_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "token"
    assert make_token_file(path)
    token = read_token(path)
    assert len(token) > 40 and not make_token_file(path) and read_token(path) == token
    assert os.name == "nt" or path.stat().st_mode & 0o077 == 0


def test_a_token_comes_from_a_file_or_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IR2QSM_TOKEN", "of-the-environment")
    assert read_token(None) == "of-the-environment"
    (tmp_path / "token").write_text("  of-the-token-file\n")
    assert read_token(tmp_path / "token") == "of-the-token-file"


@pytest.mark.parametrize("token", ["", "short", "with a space in it", "χ" * 20, "a-token\nof-two-lines"])
def test_a_token_that_is_none_is_refused(tmp_path: Path, token: str) -> None:
    (tmp_path / "token").write_text(token, encoding="utf-8")
    with pytest.raises(ParameterInvalid, match="expected 16 to 1024 letters") as caught:
        read_token(tmp_path / "token")
    assert caught.value.option == "token_file"


def test_only_the_whole_token_is_the_token() -> None:
    assert is_token(b"Bearer abc", "abc")
    assert not any(is_token(shown, "abc") for shown in (b"", b"abc", b"Bearer ", b"Bearer ab", b"Bearer abcd", b"\xff"))


# Files.


def test_the_folder_of_a_server_that_was_killed_goes_with_the_next_start(tmp_path: Path) -> None:
    code = f"""
import os, pathlib, signal
from IR2QSMLib.server.folders import ServerFolder
folder = ServerFolder(pathlib.Path({str(tmp_path)!r}))
with folder.of_run() as run:
    (run / "field.nii").write_bytes(b"1")
    os.kill(os.getpid(), signal.SIGKILL)
"""
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == -9
    (left,) = tmp_path.glob(f"{PREFIX}*/run-*/field.nii")
    other = ServerFolder(tmp_path)
    assert not left.exists()
    third = ServerFolder(tmp_path)
    assert other.path.is_dir()  # it lives
    other.close()
    third.close()
    assert list(tmp_path.iterdir()) == []


def test_folders_of_others_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / f"{PREFIX}link").symlink_to(tmp_path / "elsewhere")
    (tmp_path / f"{PREFIX}new").mkdir()  # of a server that is just starting: it has no lock yet
    ServerFolder(tmp_path).close()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["elsewhere", f"{PREFIX}link", f"{PREFIX}new"]


# The command.


def test_the_command_serves_until_its_standard_input_ends(tmp_path: Path) -> None:
    options = ["--port", "0", "--token-file", str(tmp_path / "token"), "--folder", str(tmp_path), "--cancel-file", "-"]
    with subprocess.Popen(
        [sys.executable, "-m", "IR2QSMLib", "serve", *options],
        cwd=ROOT,
        text=True,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdin is not None and process.stdout is not None
        assert process.stdout.readline() == (
            f"A new token is in {tmp_path / 'token'}; copy the file to the computers that may use this server.\n"
        )
        address = process.stdout.readline().split(" serves at ")[1].split(";")[0]
        client = Server(address, read_token(tmp_path / "token"))
        client.require_ready(10**9)
        assert len(list(tmp_path.glob(f"{PREFIX}*"))) == 1
        process.stdin.close()
        assert process.wait(60) == 3
    assert [path.name for path in tmp_path.iterdir()] == ["token"]


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--host", "0.0.0.0"], "Other computers reach 0.0.0.0"),
        (["--queue", "-1"], "--queue is -1; expected a number from 0 to 1000."),
        (["--max-upload", "nan"], "--max-upload is nan"),
        (["--certificate", "c.pem"], "A certificate goes with its key; give --certificate and --key."),
        (["--certificate", "c.pem", "--key", "k.pem"], "c.pem and its key cannot be used for TLS"),
        (["--port", "99999"], "--port is 99999; expected a number from 0 to 65535."),
        (["--folder", "none"], "The server cannot make its temporary folder"),
    ],
)
def test_settings_that_cannot_be_are_refused(
    ir2qsm: Callable[..., Any], tmp_path: Path, options: list[str], sentence: str
) -> None:
    ran = ir2qsm("serve", "--token-file", tmp_path / "token", *options)
    assert ran.code == 2 and ran.err.startswith(f"ir2qsm: {sentence}") and ran.err.count("\n") == 1
