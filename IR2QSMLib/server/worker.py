"""A worker on the server: `ir2qsm reconstruct` in a process of its own, which ends when the server does."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from asyncio.subprocess import PIPE
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from IR2QSMLib.core import version
from IR2QSMLib.core.errors import OutOfMemory
from IR2QSMLib.server.tokens import VARIABLE

Event = dict[str, Any]
LONGEST_LINE = 2**20
"""Bytes of one event."""
FIRST_EVENT: Event = {"event": "progress", "fraction": 0.0, "stage": "starting"}


async def run_worker(arguments: Sequence[str], folder: Path, on_progress: Callable[[Event], None]) -> Event:
    """Run a worker to its end and return its last event; it is killed when the task is cancelled.

    Parameters
    ----------
    arguments
        The words after `ir2qsm`.
    folder
        Of the run, where temporary files go, too.
    on_progress
        Called with each event of progress.
    """
    # "-" ends the worker at the end of its standard input: when this process dies, however it does.
    command = [sys.executable, "-u", "-m", "IR2QSMLib", *arguments, "--progress", "json", "--cancel-file", "-"]
    environment = {name: value for name, value in os.environ.items() if name != VARIABLE}
    temporary = {name: str(folder) for name in ("TMPDIR", "TEMP", "TMP")}
    process = await asyncio.create_subprocess_exec(
        *command,
        cwd=Path(version.__file__).resolve().parents[2],  # where no file that was sent can be imported
        env={**environment, **temporary},
        stdin=PIPE,
        stdout=PIPE,
        limit=LONGEST_LINE,
    )
    last: Event | None = None
    try:
        lines: asyncio.StreamReader = process.stdout  # type: ignore[assignment]
        async for line in lines:
            event = _event_in(line)
            if event is None:
                continue
            if event["event"] == "progress":
                on_progress(event)
            else:
                last = event
        code = await process.wait()
    finally:
        if process.returncode is None:
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()
    return last or _died(code)


def _event_in(line: bytes) -> Event | None:
    try:
        event = json.loads(line)
    except ValueError:
        return None
    return event if isinstance(event, dict) and "event" in event else None


def _died(code: int) -> Event:
    """The event in place of the one that a dead worker did not print."""
    if code in (-9, 137):
        return {
            "event": "error",
            "kind": OutOfMemory.__name__,
            "option": None,
            "message": f"On the server: {OutOfMemory()}",
        }
    message = f"The worker on the server ended without a result (exit code {code}); its log says more."
    return {"event": "error", "kind": "ServerUnavailable", "option": "server", "message": message}
