"""A server that tests talk to, and waiting for what it does."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from IR2QSMLib.core.errors import Cancelled
from IR2QSMLib.core.version import __version__
from IR2QSMLib.server.application import Application, Limits
from IR2QSMLib.server.client import Server
from IR2QSMLib.server.folders import ServerFolder
from IR2QSMLib.server.listen import open_socket, serve

TOKEN = "a-token-of-these-tests"


@dataclass(frozen=True)
class RunningServer:
    """A server that answers, and what it said."""

    port: int
    folder: ServerFolder
    token_file: Path
    said: list[str]
    scheme: str = "http"

    @property
    def address(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.port}"

    def client(self, token: str = TOKEN) -> Server:
        return Server(self.address, token)

    def options(self) -> list[str]:
        """Options of `ir2qsm reconstruct`."""
        return ["--server", self.address, "--token-file", str(self.token_file)]

    def head(self, length: object, *, token: str = TOKEN, version: str = __version__, target: str = "/runs") -> bytes:
        """The head of a run's request."""
        lines = [f"POST {target} HTTP/1.1", "Host: x", f"Authorization: Bearer {token}", f"IR2QSM-Version: {version}"]
        return "\r\n".join([*lines, f"Content-Length: {length}", "", ""]).encode()

    def connect(self, content: bytes) -> socket.socket:
        """A connection over which so much was sent."""
        connection = socket.create_connection(("127.0.0.1", self.port), timeout=60)
        connection.sendall(content)
        return connection

    def answer(self, content: bytes, patience: float = 60.0) -> bytes:
        """All that the server says to these bytes; after `patience` [s] without a word, that nothing follows."""
        answer = b""
        with self.connect(b"") as connection, suppress(ConnectionError):  # it may close before all is sent
            connection.sendall(content)
            connection.settimeout(patience)
            with suppress(TimeoutError):
                while piece := connection.recv(65536):  # head and body may come in two pieces
                    answer += piece
                return answer
            connection.settimeout(60)
            connection.shutdown(socket.SHUT_WR)
            while piece := connection.recv(65536):
                answer += piece
        return answer

    def require_empty(self) -> None:
        """Wait until no run has a folder; the server's own holds nothing else."""
        wait_until(lambda: self.folder.runs() == [])
        assert [path.name for path in self.folder.path.iterdir()] == ["lock"]


def wait_until(condition: Callable[[], bool]) -> None:
    """Wait for what another thread or process does; a minute stands for never."""
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


@contextmanager
def held_run(server: RunningServer) -> Iterator[socket.socket]:
    """A run whose upload has begun and does not go on."""
    with server.connect(server.head(1000) + b"{") as connection:
        wait_until(lambda: len(server.folder.runs()) == 1)
        yield connection


@contextmanager
def servers(parent: Path) -> Iterator[Callable[..., RunningServer]]:
    """Start servers in threads of this process, with the limits that a test needs; all end at the end."""
    stop = threading.Event()
    threads: list[threading.Thread] = []
    folders: list[ServerFolder] = []
    token_file = parent / "token"
    token_file.write_text(TOKEN)

    def require_going_on() -> None:
        if stop.is_set():
            raise Cancelled

    def start(certificate: Path | None = None, key: Path | None = None, **limits: Any) -> RunningServer:
        folder, listener = ServerFolder(parent), open_socket("127.0.0.1", 0, tls=False, insecure=False)
        said: list[str] = []
        folders.append(folder)
        application = Application(TOKEN, folder, Limits(**limits), "cpu", said.append)
        port = listener.getsockname()[1]
        arguments = (application, listener, certificate, key, require_going_on)
        threads.append(threading.Thread(target=serve, args=arguments))
        threads[-1].start()
        return RunningServer(port, folder, token_file, said, "http" if certificate is None else "https")

    try:
        yield start
    finally:
        stop.set()
        for thread in threads:
            thread.join(60)
        for folder in folders:
            folder.close()
    assert not any(thread.is_alive() for thread in threads)
