"""The client's end of a run on a server, with the standard library only."""

from __future__ import annotations

import http.client
import json
import socket
import ssl
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from IR2QSMLib.core import errors
from IR2QSMLib.core.errors import FileUnreadable, IR2QSMError, ParameterInvalid, ServerUnavailable
from IR2QSMLib.core.version import __version__
from IR2QSMLib.server.listen import is_loopback
from IR2QSMLib.server.refusals import queue_full, too_large, version_sentence
from IR2QSMLib.server.request import RunRequest

CONNECT_SECONDS = 10.0
"""In which a server must answer a question."""
SILENCE_SECONDS = 60.0
"""Longest silence of a server during a run; it sends several lines a second."""
PIECE = 2**18
"""Bytes that are sent or received at once."""
LONGEST_LINE = 2**20
"""Bytes of one event."""

Source = Path | bytes
"""What a file that is sent is made of."""


class Server:
    """A server of `ir2qsm serve`.

    Parameters
    ----------
    address
        Such as https://name:8765.
    token
        That the server knows.
    certificate
        A certificate to trust, as PEM; those that this computer trusts when None.

    Raises
    ------
    ParameterInvalid
        For an address that is none.
    FileUnreadable
        For a certificate that cannot be read.
    """

    def __init__(self, address: str, token: str, certificate: Path | None = None) -> None:
        parts = urlsplit(address if "//" in address else f"//{address}")
        try:
            host, port = parts.hostname, parts.port
        except ValueError:
            host, port = None, None
        extra = parts.username or parts.password or parts.query or parts.fragment or parts.path not in ("", "/")
        if parts.scheme not in ("http", "https") or not host or extra:
            raise ParameterInvalid(
                "The address of a server is http:// or https:// with its name and port, such as "
                "https://name.example.org:8765; correct it.",
                option="server",
            )
        self._host, self._token = host, token
        self._port = port or (443 if parts.scheme == "https" else 80)
        self._context = _tls_context(certificate) if parts.scheme == "https" else None
        self.encrypted = self._context is not None or is_loopback(host)
        """Whether nobody on the way can read along."""

    def info(self) -> dict[str, Any]:
        """Version, name, largest upload and whether the queue is full; raises ServerUnavailable."""
        with self._plain_errors(), self._connection(CONNECT_SECONDS) as connection:
            connection.request("GET", "/info", headers=self._headers())
            content = _json(_accepted(connection.getresponse()).read(LONGEST_LINE))
        if not {"version", "name", "upload", "full"} <= content.keys():
            raise self._no_server()
        return content

    def require_ready(self, size: int) -> None:
        """Raise ServerUnavailable unless a run with files of `size` bytes would be taken."""
        info = self.info()
        if info["version"] != __version__:
            raise ServerUnavailable(version_sentence(info["version"], __version__), option="server")
        if size > info["upload"]:
            raise too_large(size, info["upload"])
        if info["full"]:
            raise queue_full()

    def run(
        self,
        request: RunRequest,
        sources: Iterable[Source],
        on_event: Callable[[dict[str, Any]], None],
        on_sent: Callable[[float], None],
        on_file: Callable[[str, Iterator[bytes]], None],
    ) -> dict[str, Any]:
        """Send a run, listen to it, receive its results, and return its last event.

        Parameters
        ----------
        request
            What to send.
        sources
            Of its files, in their order.
        on_event
            Called with each event of progress.
        on_sent
            Called with the fraction that is sent, often; may raise Cancelled.
        on_file
            Called with the name of each result and its bytes, which it must read.

        Raises
        ------
        IR2QSMError
            As a local run does, and ServerUnavailable where the server or the connection fails.
        """
        head, sizes = request.to_json(), [file.size for file in request.files]
        length = len(head) + sum(sizes)
        with self._plain_errors(), self._connection(SILENCE_SECONDS) as connection:
            connection.putrequest("POST", "/runs")
            for name, value in {**self._headers(), "Content-Length": str(length)}.items():
                connection.putheader(name, value)
            connection.endheaders()
            n_sent = 0
            try:
                for piece in _pieces(head, sources, sizes):
                    connection.send(piece)
                    n_sent += len(piece)
                    on_sent(n_sent / length)
            except (ConnectionError, ssl.SSLError):  # the server may have said why before it closed
                with suppress(OSError, http.client.HTTPException):
                    _accepted(connection.getresponse())
                raise
            response = _accepted(connection.getresponse())
            while True:
                event = _line(response)
                kind = event.get("event")
                if kind == "progress":
                    on_event(event)
                elif kind == "file":
                    on_file(str(event["name"]), _bytes_of(response, int(event["size"])))
                elif kind == "error":
                    raise _error_of(event)
                elif kind == "result":
                    return event
                else:
                    raise self._no_server()

    def _headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self._token}", "IR2QSM-Version": __version__}

    @contextmanager
    def _connection(self, seconds: float) -> Iterator[http.client.HTTPConnection]:
        if self._context is None:
            connection = http.client.HTTPConnection(self._host, self._port, timeout=seconds)
        else:
            connection = http.client.HTTPSConnection(self._host, self._port, timeout=seconds, context=self._context)
        try:
            yield connection
        finally:
            connection.close()

    @contextmanager
    def _plain_errors(self) -> Iterator[None]:
        """One sentence for each way in which a network fails."""
        where = f"{self._host}, port {self._port}"
        try:
            yield
        except ssl.SSLCertVerificationError as error:
            message = (
                f"The certificate of {where} is not trusted ({error.verify_message}); give it with "
                "--server-certificate, or correct the address."
            )
        except (
            ssl.SSLEOFError,
            ssl.SSLZeroReturnError,
            ConnectionResetError,
            BrokenPipeError,
            http.client.IncompleteRead,
            http.client.RemoteDisconnected,
        ):
            message = (
                f"The connection to {where} was lost; see whether the server still runs and whether its address begins "
                "with http:// or https://, and try again."
            )
        except ssl.SSLError:
            message = f"{where} does not speak TLS; correct the address, or give the server --certificate and --key."
        except socket.gaierror:
            message = f"The name {self._host} is not known; correct the address of the server."
        except TimeoutError:
            message = f"The server at {where} does not answer; see whether it runs and can be reached."
        except ConnectionError:
            message = f"No server answers at {where}; start it with ir2qsm serve, or correct the address."
        except OSError as error:
            message = f"The server at {where} cannot be reached ({error.strerror or error}); correct the address."
        except (http.client.HTTPException, ValueError, KeyError, TypeError):
            raise self._no_server() from None
        else:
            return
        raise ServerUnavailable(message, option="server")

    def _no_server(self) -> ServerUnavailable:
        return ServerUnavailable(
            f"What answers at {self._host}, port {self._port}, is no server of IR2QSM; correct the address.",
            option="server",
        )


def _tls_context(certificate: Path | None) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=certificate)
    except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
        name = certificate.name if certificate is not None else "of this computer"
        raise FileUnreadable(
            f"The certificate {name} cannot be read; give the server's as PEM.", option="server_certificate"
        ) from error


def _pieces(head: bytes, sources: Iterable[Source], sizes: Iterable[int]) -> Iterator[bytes]:
    """The body of a request; raises FileUnreadable when a file has become shorter since it was listed."""
    yield head
    for source, size in zip(sources, sizes, strict=True):
        if isinstance(source, bytes):
            yield source
            continue
        left = size
        try:
            with source.open("rb") as file:
                while left:
                    piece = file.read(min(PIECE, left))
                    if not piece:
                        raise FileUnreadable(f"{source.name} became shorter while it was sent; try again.")
                    left -= len(piece)
                    yield piece
        except OSError as error:
            raise FileUnreadable(f"{source.name} cannot be read ({error.strerror}); give a file that can.") from error


def _accepted(response: http.client.HTTPResponse) -> http.client.HTTPResponse:
    """A response that is no refusal; raises what the refusal says."""
    if response.status != http.client.OK:
        raise _error_of(_json(response.read(LONGEST_LINE)))
    return response


def _bytes_of(response: http.client.HTTPResponse, size: int) -> Iterator[bytes]:
    """The next bytes of an answer; raises ServerUnavailable when there are fewer."""
    while size > 0:
        try:
            piece = response.read(min(PIECE, size))
        except (OSError, http.client.HTTPException):
            piece = b""
        if not piece:
            raise ServerUnavailable(
                "The connection to the server was lost while the results came; try again.", option="server"
            )
        size -= len(piece)
        yield piece


def _line(response: http.client.HTTPResponse) -> dict[str, Any]:
    """The next event; raises IncompleteRead where the answer ends before it does."""
    text = response.readline(LONGEST_LINE)
    if not text.endswith(b"\n"):
        raise http.client.IncompleteRead(text)
    return _json(text)


def _json(text: bytes) -> dict[str, Any]:
    """One object; raises ValueError for anything else."""
    content = json.loads(text)
    if not isinstance(content, dict):
        raise ValueError("no object")
    return content


def _error_of(event: dict[str, Any]) -> IR2QSMError:
    """The error that a server reports, of the class that a local run would raise."""
    if event.get("kind") == "InternalError":
        return ServerUnavailable(f"On the server: {event['message']}", option="server")
    known = {kind.__name__: kind for kind in vars(errors).values() if isinstance(kind, type)}
    kind = known.get(str(event["kind"]), ServerUnavailable)
    if not issubclass(kind, IR2QSMError) or kind is errors.Cancelled:
        kind = ServerUnavailable
    option = event.get("option")
    return kind(str(event["message"]), option if isinstance(option, str) else None)
