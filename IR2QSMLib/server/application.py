"""The server's two answers: `GET /info`, and `POST /runs`, whose one connection lives as long as its run.

The body of a run is one line of JSON, `server.request.RunRequest`, and the bytes of its files. The answer is lines of
JSON as in the worker's protocol; before the last one, each result follows a line
`{"event": "file", "name": …, "size": …}` as so many bytes. When the connection ends, the run ends, and its folder is
removed. A refusal is one object with the keys of an error event.
"""

from __future__ import annotations

import asyncio
import platform
import traceback
from collections.abc import Awaitable, Callable, MutableMapping
from contextlib import suppress
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any

from IR2QSMLib.core.errors import IR2QSMError, ParameterInvalid, ServerUnavailable
from IR2QSMLib.core.version import __version__
from IR2QSMLib.server.connection import Body, Disconnected, Reply
from IR2QSMLib.server.contents import require_self_contained
from IR2QSMLib.server.folders import ServerFolder
from IR2QSMLib.server.refusals import queue_full, too_large, too_slow, version_sentence
from IR2QSMLib.server.request import RunRequest, place_of, total_size
from IR2QSMLib.server.tokens import is_token
from IR2QSMLib.server.worker import FIRST_EVENT, Event, run_worker

Message = MutableMapping[str, Any]
VERSION_HEADER = b"ir2qsm-version"
EVENT_SECONDS = 0.25
"""Between two events of progress, which also show that both ends still live."""
WAITING: Event = {"event": "progress", "fraction": 0.0, "stage": "waiting for the server"}


@dataclass(frozen=True)
class Limits:
    """What a server accepts."""

    upload: int = 4 * 10**9
    """Bytes of the files of one run."""
    queue: int = 4
    """Runs that may wait for the one that computes."""
    seconds: float = 7200.0
    """Longest computation of one run, and longest upload [s]."""


class Application:
    """The server as an ASGI application.

    Parameters
    ----------
    token
        That every request must show.
    folder
        For the files of runs.
    limits
        What is accepted.
    device
        On which runs compute: auto, cpu, cuda or mps.
    say
        Called with lines for the person at the server.
    """

    def __init__(
        self, token: str, folder: ServerFolder, limits: Limits, device: str, say: Callable[[str], None]
    ) -> None:
        self._token, self._folder, self._limits, self._device, self._say = token, folder, limits, device, say
        self._n_runs = 0
        self._turn = asyncio.Lock()

    async def __call__(
        self,
        scope: Message,
        receive: Callable[[], Awaitable[Message]],
        send: Callable[[Message], Awaitable[None]],
    ) -> None:
        """Answer one request."""
        reply, headers = Reply(send), dict(scope["headers"])
        try:
            refusal = self._refusal(scope, headers)
            if refusal is not None:
                await reply.json(refusal[0], _error_event(refusal[1]))
            elif scope["path"] == "/info":
                await reply.json(HTTPStatus.OK, self._info())
            else:
                await self._run(Body(receive, _length(headers)), reply)
        except Disconnected:
            self._say("A client went away, or stood still.")
            if not reply.begun:
                with suppress(Disconnected):
                    await reply.json(HTTPStatus.REQUEST_TIMEOUT, _error_event(too_slow()))
        except Exception:  # a fault of the program, which must not end the server
            self._say(traceback.format_exc())
            error = ServerUnavailable("The server failed; its log says more.", option="server")
            with suppress(Disconnected):
                await reply.json(HTTPStatus.INTERNAL_SERVER_ERROR, _error_event(error))

    def _refusal(self, scope: Message, headers: dict[bytes, bytes]) -> tuple[HTTPStatus, IR2QSMError] | None:
        """Why a request is refused by its head."""
        if not is_token(headers.get(b"authorization", b""), self._token):
            error: IR2QSMError = ServerUnavailable(
                "The server does not know this token; give the file with the server's token.", option="token_file"
            )
            return HTTPStatus.UNAUTHORIZED, error
        if (scope["method"], scope["path"]) not in (("GET", "/info"), ("POST", "/runs")):
            return HTTPStatus.NOT_FOUND, ServerUnavailable("The server has no such page.", option="server")
        if scope["path"] == "/info":
            return None
        version = headers.get(VERSION_HEADER, b"").decode("latin-1")
        if version != __version__:
            error = ServerUnavailable(version_sentence(__version__, version), option="server")
            return HTTPStatus.CONFLICT, error
        if b"content-length" not in headers:
            return HTTPStatus.LENGTH_REQUIRED, ServerUnavailable("The request has no length.", option="server")
        if _length(headers) > self._limits.upload:
            return HTTPStatus.REQUEST_ENTITY_TOO_LARGE, too_large(_length(headers), self._limits.upload)
        return None

    def _info(self) -> dict[str, Any]:
        return {
            "version": __version__,
            "name": platform.node(),
            "upload": self._limits.upload,
            "full": self._n_runs > self._limits.queue,
        }

    async def _run(self, body: Body, reply: Reply) -> None:
        """Receive a run, compute it and send its results; nothing of it stays."""
        if self._n_runs > self._limits.queue:
            await body.drain()
            await reply.json(HTTPStatus.SERVICE_UNAVAILABLE, _error_event(queue_full()))
            return
        self._n_runs += 1
        try:
            with self._folder.of_run() as folder:
                try:
                    request = await asyncio.wait_for(_receive_run(body, folder), self._limits.seconds)
                except IR2QSMError as error:
                    await body.drain()  # else the client would not see the answer before it has sent everything
                    await reply.json(HTTPStatus.BAD_REQUEST, _error_event(error))
                    return
                except asyncio.TimeoutError as error:  # an OSError from Python 3.11 on
                    raise Disconnected from error
                except OSError as error:
                    await body.drain()
                    full = ServerUnavailable(f"The server cannot store the files ({error.strerror}).", option="server")
                    await reply.json(HTTPStatus.INSUFFICIENT_STORAGE, _error_event(full))
                    return
                await self._answer(request, folder, body, reply)
        finally:
            self._n_runs -= 1

    async def _answer(self, request: RunRequest, folder: Path, body: Body, reply: Reply) -> None:
        """Compute while the client listens, then send the results."""
        newest = [WAITING]
        work = asyncio.create_task(self._compute(request, folder, newest))
        gone = asyncio.create_task(body.wait_for_end_of_connection())
        try:
            await reply.begin_lines()
            while not work.done():
                await reply.line(newest[0])
                await asyncio.wait({work, gone}, timeout=EVENT_SECONDS, return_when=asyncio.FIRST_COMPLETED)
                if gone.done():
                    raise Disconnected
            event = work.result()
            if event["event"] == "result":
                event = await _send_results(event, folder / "results", reply)
            elif event["event"] == "error":
                event = {**event, "message": str(event["message"]).replace(str(folder), "")}
            await reply.line(event)
            await reply.end()
            self._say(f"A run of {request.options.get('method', 'the default method')} ended: {event['event']}.")
        finally:
            for task in (work, gone):
                task.cancel()
            await asyncio.gather(work, gone, return_exceptions=True)

    async def _compute(self, request: RunRequest, folder: Path, newest: list[Event]) -> Event:
        """The last event of a worker, which begins when no other run computes."""
        (folder / "results").mkdir()
        arguments = [*request.arguments(folder / "inputs", folder / "results"), "--device", self._device]
        async with self._turn:
            newest[0] = FIRST_EVENT

            def progressed(event: Event) -> None:
                newest[0] = event

            try:
                return await asyncio.wait_for(run_worker(arguments, folder, progressed), self._limits.seconds)
            except asyncio.TimeoutError:
                minutes = f"{self._limits.seconds / 60:g}"
                error = ServerUnavailable(
                    f"The run took longer than the {minutes} minutes that the server allows; choose a faster method.",
                    option="server",
                )
                return _error_event(error)


async def _receive_run(body: Body, folder: Path) -> RunRequest:
    """Read a request and store its files; raises IR2QSMError for what is not accepted."""
    request = RunRequest.from_json(await body.line())
    if total_size(request.files) != body.left:
        raise ParameterInvalid("The files of the request have other sizes than it says; send them again.")
    for file in request.files:
        path = place_of(file, folder / "inputs")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            stream = path.open("xb")
        except (FileExistsError, NotADirectoryError) as error:
            raise ParameterInvalid(
                "Two files have one name, or the name of a folder; rename one.", file.option
            ) from error
        with stream:
            left = file.size
            while left:
                piece = await body.read(left)
                stream.write(piece)
                left -= len(piece)
        try:
            await asyncio.to_thread(require_self_contained, path, len(file.path) > 1)
        except IR2QSMError as error:
            error.option = file.option
            raise
    return request


async def _send_results(event: Event, results: Path, reply: Reply) -> Event:
    """Send every file that a worker wrote, and return the last event without the server's paths."""
    for path in sorted(p for p in results.rglob("*") if p.is_file()):
        await reply.line({"event": "file", "name": path.relative_to(results).as_posix(), "size": path.stat().st_size})
        await reply.file(path)
    kept = {kind: Path(path).name for kind, path in event.get("kept", {}).items()}
    return {"event": "result", "warnings": event["warnings"], "kept": kept, "server": platform.node()}


def _length(headers: dict[bytes, bytes]) -> int:
    """Bytes of a body; of a number without end the first digits, which are too many as well."""
    return int(headers[b"content-length"][:18])


def _error_event(error: IR2QSMError) -> Event:
    return {"event": "error", "kind": error.kind, "option": error.option, "message": str(error)}
