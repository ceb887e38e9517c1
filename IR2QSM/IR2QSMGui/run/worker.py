"""One run of the library's command line in a process of its own, read line by line."""

from __future__ import annotations

import json
import logging
import os
import re
import shutil
import sys
import tempfile
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import qt
import slicer
from slicer.i18n import tr as _

from IR2QSMGui.library import library_folder

N_LINES = 40
"""Lines of a worker's log that are kept."""
LAUNCHER_MESSAGE = "exit abnormally"
"""In what Slicer's launcher prints about a child that was killed."""
GRACE_MS = 1700
"""Milliseconds in which a cancelled worker may end by itself; two seconds in all are promised."""


class WorkerFailed(RuntimeError):
    """A worker ended without a result.

    Parameters
    ----------
    kind
        The library's name for the error.
    message
        In the library's words.
    lines
        The end of the worker's log.
    option
        The input or option to change, by its name on the command line with underscores; None if it is none.
    """

    def __init__(self, kind: str, message: str, lines: Iterable[str] = (), option: str | None = None) -> None:
        super().__init__(message)
        self.kind = kind
        self.lines = list(lines)
        self.option = option


class Cancelled(RuntimeError):
    """The run was cancelled; nothing was changed."""

    def __init__(self):
        super().__init__(_("Cancelled; nothing was changed."))


class Worker:
    """`python -m IR2QSMLib ARGUMENTS`, with progress, cancellation and exactly one end.

    At the end `result` holds the values of the last event, or `error` says what happened. `lines` is the end of what
    the worker printed beside its events.

    Parameters
    ----------
    arguments
        A command of `ir2qsm` and its arguments.
    cancel_file
        The file whose appearance asks the worker to end; it is killed when None.
    on_progress
        Called on the main thread with the fraction done, 0 to 1, and the stage.
    on_end
        Called on the main thread with the worker.
    """

    def __init__(
        self,
        arguments: Sequence[str],
        cancel_file: Path | None = None,
        on_progress: Callable[[float, str], None] | None = None,
        on_end: Callable[[Worker], None] | None = None,
    ) -> None:
        self._arguments = [*arguments, *(["--cancel-file", str(cancel_file)] if cancel_file is not None else [])]
        self._cancel_file = cancel_file
        self._on_progress = on_progress or (lambda fraction, stage: None)
        self.on_end = on_end or (lambda worker: None)
        self._process: Any = None
        self._kill_timer: Any = None
        self._last_event: dict[str, Any] | None = None
        self._cancelled = False
        self.lines: deque[str] = deque(maxlen=N_LINES)
        self.result: dict[str, Any] | None = None
        self.error: Exception | None = None
        self.ended = False

    def start(self, wait: bool = False) -> Worker:
        """Run it in the background, or until its end when `wait`, for scripts; returns itself."""
        command = [shutil.which("PythonSlicer") or sys.executable, "-u", "-m", "IR2QSMLib", *self._arguments]
        paths = [str(library_folder()), *filter(None, [os.environ.get("PYTHONPATH")])]
        settings = {
            "useStartupEnvironment": False,
            "updateEnvironment": {
                "PYTHONPATH": os.pathsep.join(paths),
                "PYTHONSAFEPATH": "1",
                "PYTHONIOENCODING": "ascii:backslashreplace",
            },
        }
        try:
            if wait:
                self._process = slicer.util.launchConsoleProcess(command, blocking=True, **settings)
                try:
                    for line in self._process.stdout:
                        self._read_line(line.rstrip())
                except BaseException:  # a script's callback may raise: the worker must not stay behind
                    self.kill()
                    raise
                self._process_ended(self._process.wait())
            else:
                self._on_progress = _with_errors_logged(self._on_progress)
                self._process = slicer.util.launchConsoleProcess(
                    command,
                    blocking=False,
                    logCallback=self._read_line,
                    completedCallback=self._process_ended,
                    **settings,
                )
        except OSError as error:
            reason = _("Python could not be started ({reason}).").format(reason=error.strerror)
            self._end(WorkerFailed("Launch", reason))
        return self

    def cancel(self) -> None:
        """Ask it to end, and kill it when it does not; `on_end` follows within two seconds."""
        if self.ended or self._cancelled:
            return
        self._cancelled = True
        if self._cancel_file is None:
            self.kill()
            return
        Path(self._cancel_file).touch()
        self._kill_timer = qt.QTimer()
        self._kill_timer.setSingleShot(True)
        self._kill_timer.timeout.connect(self.kill)
        self._kill_timer.start(GRACE_MS)

    def kill(self) -> None:
        """End its process and those that it started: in Slicer the interpreter is the child of a launcher."""
        if self.ended or self._process is None or self._process.poll() is not None:
            return
        with suppress(Exception):  # psutil is not installed, or the process ended meanwhile
            import psutil

            children = psutil.Process(self._process.pid).children(recursive=True)
            for child in children:
                child.kill()
            psutil.wait_procs(children, timeout=2)
        self._process.kill()
        with suppress(Exception):  # on Windows its files cannot be removed before it has ended
            self._process.wait(timeout=2)

    def _read_line(self, line: str) -> None:
        event = _event_in(line)
        if event is None:
            if line:
                self.lines.append(line)
        elif event["event"] == "progress":
            if not self._cancelled:
                self._on_progress(event["fraction"], event["stage"])
        else:
            self._last_event = event

    def _process_ended(self, exit_code: int) -> None:
        self._process.stdout.close()
        event = self._last_event or {"event": "none"}
        if event["event"] == "result":
            self.result = event
            self._end(Cancelled() if self._cancelled else None)
        elif self._cancelled or event["event"] == "cancelled":
            self._end(Cancelled())
        elif event["event"] == "error":
            self._end(WorkerFailed(event["kind"], event["message"], self.lines, event.get("option")))
        else:
            self._end(WorkerFailed("WorkerDied", _reason_of_death(exit_code, self.lines), self.lines))

    def _end(self, error: Exception | None) -> None:
        self.error = error
        self.ended = True
        self.on_end(self)


def _with_errors_logged(callback: Callable[[float, str], None]) -> Callable[[float, str], None]:
    """The callback, whose errors go to the log: in Slicer they would keep the run from its end."""

    def call(fraction: float, stage: str) -> None:
        try:
            callback(fraction, stage)
        except Exception:
            logging.exception("IR2QSM: a script's on_progress failed")

    return call


def _event_in(line: str) -> dict[str, Any] | None:
    """The event in a line, or None for anything else that was printed."""
    if not line.startswith('{"event"'):
        return None
    try:
        event: dict[str, Any] = json.loads(line)
    except ValueError:
        return None
    return event


def _reason_of_death(exit_code: int, lines: deque[str]) -> str:
    """A sentence about a worker that ended without an event; takes the launcher's message out of its lines."""
    from_launcher = [line for line in lines if LAUNCHER_MESSAGE in line]  # its exit code is 1 for a killed child
    for line in from_launcher:
        lines.remove(line)
    if exit_code in (-9, 137) or from_launcher:
        return _(
            "The worker was ended by the system, most likely because memory ran out. Close other programs, or choose "
            "smaller tiles under Advanced, and apply again."
        )
    last = " ".join(without_folders(line) for line in list(lines)[-3:])
    return _("The worker ended without a result (exit code {code}). {last}").format(code=exit_code, last=last).strip()


def without_folders(line: str) -> str:
    """A line in which the last part of every path stays."""
    for folder in (tempfile.gettempdir(), str(Path.home())):
        line = line.replace(folder, "…")
    return re.sub(r"(?:[A-Za-z]:)?[^\s\"'(]*[\\/](?=[^\s\"'/\\]+)", "", line)
