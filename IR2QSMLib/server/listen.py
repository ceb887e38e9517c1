"""Listening: the socket, TLS, and the limits on connections that have shown no token yet."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import ssl
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from IR2QSMLib.core.errors import Cancelled, FileUnreadable, PackageMissing, ParameterInvalid
from IR2QSMLib.server.application import Application

HEAD_SECONDS = 10.0
"""In which a connection must have sent the head of its request."""
MAX_CONNECTIONS = 64
POLL_SECONDS = 0.1


def is_loopback(host: str) -> bool:
    """Whether only this computer reaches a host of that name or address."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"


def open_socket(host: str, port: int, tls: bool, insecure: bool) -> socket.socket:
    """A socket that listens; port 0 is any free one.

    Raises
    ------
    ParameterInvalid
        For a host that other computers reach where the connection is not encrypted, and for one that cannot be used.
    """
    if not is_loopback(host) and not tls and not insecure:
        raise ParameterInvalid(
            f"Other computers reach {host}, and images and token would cross the network unencrypted; give "
            "--certificate and --key, or keep 127.0.0.1 and reach it through ssh -L, or say --insecure.",
            option="host",
        )
    try:
        return socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    except OSError as error:
        raise ParameterInvalid(
            f"Nothing can listen at {host}, port {port} ({error.strerror or error}); choose another --host or --port.",
            option="port",
        ) from error


def require_certificate(certificate: Path, key: Path | None) -> None:
    """Raise FileUnreadable unless the files hold a certificate and its key."""
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key, password=lambda: b"")
    except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
        raise FileUnreadable(
            f"{certificate.name} and its key cannot be used for TLS ({getattr(error, 'strerror', None) or error}); "
            "give a certificate and its unencrypted key, both as PEM.",
            option="certificate",
        ) from error


def serve(
    application: Application,
    listener: socket.socket,
    certificate: Path | None,
    key: Path | None,
    require_going_on: Callable[[], None],
) -> None:
    """Answer requests until `require_going_on`, which is called often, raises Cancelled; all runs end with it."""
    server = _server(application, certificate, key)

    async def stop_when_cancelled() -> None:
        try:
            while not server.should_exit:
                require_going_on()
                await asyncio.sleep(POLL_SECONDS)
        except Cancelled:
            server.should_exit = True

    async def both() -> None:
        await asyncio.gather(server.serve(sockets=[listener]), stop_when_cancelled())

    asyncio.run(both())


def _server(application: Application, certificate: Path | None, key: Path | None) -> Any:
    """uvicorn's server without its own handling of signals, which is the console's."""
    try:
        import uvicorn
        from uvicorn.protocols.http.h11_impl import H11Protocol
    except ImportError as error:
        raise PackageMissing("Serving needs uvicorn; install it with: pip install 'ir2qsm[serve]'.") from error

    class Protocol(H11Protocol):
        """A connection that is closed when no request comes."""

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            super().connection_made(transport)
            self._head_timer = self.loop.call_later(HEAD_SECONDS, self._close_without_request)

        def connection_lost(self, exc: Exception | None) -> None:
            self._head_timer.cancel()
            super().connection_lost(exc)

        def _close_without_request(self) -> None:
            if self.cycle is None:
                self.transport.close()

    class Server(uvicorn.Server):
        @contextmanager
        def capture_signals(self) -> Generator[None, None, None]:
            yield

    config = uvicorn.Config(
        application,
        http=Protocol,
        ws="none",
        loop="asyncio",
        interface="asgi3",
        lifespan="off",
        log_config=None,
        log_level="critical",
        access_log=False,
        proxy_headers=False,
        server_header=False,
        limit_concurrency=MAX_CONNECTIONS,
        timeout_graceful_shutdown=0,
        ssl_certfile=certificate,
        ssl_keyfile=key,
    )
    return Server(config)
