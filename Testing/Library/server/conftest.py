"""Fixtures of the server's tests: servers in this process, each on a port of its own, and a request."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from IR2QSMLib.core.errors import Cancelled
from IR2QSMLib.server.application import Application, Limits
from IR2QSMLib.server.folders import ServerFolder
from IR2QSMLib.server.listen import open_socket, serve
from IR2QSMLib.server.request import RunRequest, SentFile
from Testing.Library.servers import TOKEN, RunningServer


@pytest.fixture
def start_server(tmp_path: Path) -> Iterator[Callable[..., Any]]:
    """Start servers with the limits that a test needs; they end with it."""
    stop, threads, folders = threading.Event(), [], []
    token_file = tmp_path / "token"
    token_file.write_text(TOKEN)

    def require_going_on() -> None:
        if stop.is_set():
            raise Cancelled

    def start(certificate: Path | None = None, key: Path | None = None, **limits: Any) -> RunningServer:
        folder, listener, said = ServerFolder(tmp_path), open_socket("127.0.0.1", 0, False, False), []
        folders.append(folder)
        application = Application(TOKEN, folder, Limits(**limits), "cpu", said.append)
        port = listener.getsockname()[1]
        arguments = (application, listener, certificate, key, require_going_on)
        threads.append(threading.Thread(target=serve, args=arguments))
        threads[-1].start()
        return RunningServer(port, folder, token_file, said, "http" if certificate is None else "https")

    yield start
    stop.set()
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive()
    for folder in folders:
        folder.close()


@pytest.fixture
def small_run() -> Callable[..., RunRequest]:
    """A request of one small field."""

    def make(**changes: Any) -> RunRequest:
        values = {
            "options": {"method": "tkd"},
            "files": (SentFile("field", 0, ("field.nii",), 4),),
            "results": {"output": ".nii.gz"},
        }
        return RunRequest(**(values | changes))

    return make
