"""Both directions of one HTTP request on the server, with a limit on how long a client may stand still."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from http import HTTPStatus
from pathlib import Path
from typing import Any

from IR2QSMLib.core.errors import ParameterInvalid

Message = MutableMapping[str, Any]
STALL_SECONDS = 60.0
"""In which a client must send or take the next piece."""
PIECE = 2**18
"""Bytes that are sent at once."""
LONGEST_HEAD = 2**23
"""Bytes of the line that describes a run."""


class Disconnected(Exception):
    """The client went away, or stood still for too long."""


class Body:
    """The body of a request, piece by piece.

    Parameters
    ----------
    receive
        ASGI's.
    length
        Bytes that the request promises.
    """

    def __init__(self, receive: Callable[[], Awaitable[Message]], length: int) -> None:
        self._receive = receive
        self._buffer = b""
        self.left = length
        """Bytes that were not read yet."""

    async def read(self, n: int) -> bytes:
        """The next 1 to `n` bytes; raises Disconnected when there are none."""
        if not self._buffer:
            await self._fill()
        piece, self._buffer = self._buffer[:n], self._buffer[n:]
        self.left -= len(piece)
        return piece

    async def line(self) -> bytes:
        """The next line; raises ParameterInvalid when it does not end."""
        while b"\n" not in self._buffer:
            if len(self._buffer) >= min(self.left, LONGEST_HEAD):
                raise ParameterInvalid("The request has no line that describes a run; use ir2qsm reconstruct --server.")
            await self._fill()
        line, _, self._buffer = self._buffer.partition(b"\n")
        self.left -= len(line) + 1
        return line

    async def drain(self) -> None:
        """Read what is left and forget it, so that the client takes the answer."""
        while self.left > 0:
            await self.read(self.left)

    async def wait_for_end_of_connection(self) -> None:
        """Return when the client has gone; to be used after the body was read."""
        while (await self._receive())["type"] != "http.disconnect":
            await asyncio.sleep(0.05)

    async def _fill(self) -> None:
        """Add the next piece to the buffer."""
        while True:
            try:
                message = await asyncio.wait_for(self._receive(), STALL_SECONDS)
            except asyncio.TimeoutError as error:
                raise Disconnected from error
            if message["type"] == "http.disconnect":
                raise Disconnected
            self._buffer += message["body"]
            if message["body"]:
                return
            if not message["more_body"]:
                raise Disconnected


class Reply:
    """The answer to a request; raises Disconnected when the client does not take it.

    Parameters
    ----------
    send
        ASGI's.
    """

    def __init__(self, send: Callable[[Message], Awaitable[None]]) -> None:
        self._send_message = send
        self.begun = False
        """Whether a part of it was sent."""

    async def json(self, status: HTTPStatus, content: Mapping[str, Any]) -> None:
        """The whole answer as one JSON object; where lines were begun, the last of them."""
        if self.begun:
            await self.line(content)
        else:
            text = json.dumps(content).encode("ascii")
            await self._begin(status, [(b"content-length", str(len(text)).encode())])
            await self._send({"type": "http.response.body", "body": text, "more_body": True})
        await self.end()

    async def begin_lines(self) -> None:
        """Begin an answer of lines and files."""
        await self._begin(HTTPStatus.OK, [])

    async def line(self, content: Mapping[str, Any]) -> None:
        """One JSON object as a line."""
        text = json.dumps(content).encode("ascii") + b"\n"
        await self._send({"type": "http.response.body", "body": text, "more_body": True})

    async def file(self, path: Path) -> None:
        """The bytes of a file."""
        with path.open("rb") as stream:
            while piece := stream.read(PIECE):
                await self._send({"type": "http.response.body", "body": piece, "more_body": True})

    async def end(self) -> None:
        """End the answer."""
        await self._send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _begin(self, status: HTTPStatus, headers: list[tuple[bytes, bytes]]) -> None:
        self.begun = True
        common = [(b"content-type", b"application/json"), (b"cache-control", b"no-store"), (b"connection", b"close")]
        await self._send({"type": "http.response.start", "status": int(status), "headers": [*common, *headers]})

    async def _send(self, message: Message) -> None:
        try:
            await asyncio.wait_for(self._send_message(message), STALL_SECONDS)
        except asyncio.TimeoutError as error:
            raise Disconnected from error
