"""One run of the library's command line in a process of its own, heard line by line."""

import json
import logging
import os
import re
import shutil
import sys
import tempfile
from collections import deque
from contextlib import suppress
from pathlib import Path

import qt
import slicer
from slicer.i18n import tr as _

N_LINES = 40
"""Lines of a worker's log that are kept."""
ABNORMAL = "exit abnormally"
"""What Slicer's launcher says of a child that was killed."""
PATIENCE = 1700
"""Milliseconds that a worker is given to end by itself once it is cancelled."""


class WorkerFailed(RuntimeError):
    """What went wrong in a worker, in the library's words; `kind` is the library's name for it."""

    def __init__(self, kind, message, lines=()):
        super().__init__(message)
        self.kind = kind
        self.lines = list(lines)


class Cancelled(RuntimeError):
    """The run was cancelled; nothing was changed."""

    def __init__(self):
        super().__init__(_("Cancelled; nothing was changed."))


def library_folder():
    """The folder that holds IR2QSMLib: beside the module once installed, above it in a source tree."""
    here = Path(__file__).resolve().parents[2]
    for folder in (here, here.parent):
        if (folder / "IR2QSMLib" / "__init__.py").is_file():
            return folder
    raise WorkerFailed("Installation", _("The library IR2QSMLib is missing; install the extension again."))


class Worker:
    """`python -m IR2QSMLib WORDS`, with progress, cancellation and exactly one end.

    `on_progress(fraction, stage)` and `on_end(worker)` are called on the main thread; then `result` holds the last
    event's values, or `error` says what happened. `lines` is the end of what it printed beside its events.
    """

    def __init__(self, words, cancel_file=None, on_progress=None, on_end=None):
        self._words = [*words, *(["--cancel-file", str(cancel_file)] if cancel_file is not None else [])]
        self._cancel_file = cancel_file
        self._on_progress = on_progress or (lambda fraction, stage: None)
        self.on_end = on_end or (lambda worker: None)
        self._process = None
        self._event = None
        self._cancelled = False
        self.lines = deque(maxlen=N_LINES)
        self.result = None
        self.error = None
        self.ended = False

    def start(self, wait=False):
        """Run it: at once and in the background, or until its end when `wait`, for scripts. Returns itself."""
        command = [shutil.which("PythonSlicer") or sys.executable, "-u", "-m", "IR2QSMLib", *self._words]
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
                        self._heard(line.rstrip())
                except BaseException:  # what a script's callback raises must not leave the worker behind
                    self.kill()
                    raise
                self._done(self._process.wait())
            else:
                self._on_progress = _logged(self._on_progress)
                self._process = slicer.util.launchConsoleProcess(
                    command, blocking=False, logCallback=self._heard, completedCallback=self._done, **settings
                )
        except OSError as error:
            reason = _("Python could not be started ({reason}).").format(reason=error.strerror)
            self._end(WorkerFailed("Launch", reason))
        return self

    def cancel(self):
        """Ask it to end, and end it when it does not; `on_end` follows within two seconds."""
        if self.ended or self._cancelled:
            return
        self._cancelled = True
        if self._cancel_file is None:
            self.kill()
            return
        Path(self._cancel_file).touch()
        self._fuse = qt.QTimer()
        self._fuse.setSingleShot(True)
        self._fuse.timeout.connect(self.kill)
        self._fuse.start(PATIENCE)

    def kill(self):
        """End its process and those that it started: in Slicer the interpreter is the child of a launcher."""
        if self.ended or self._process is None or self._process.poll() is not None:
            return
        with suppress(Exception):  # not installed, or ended meanwhile: its own process is all there is to end
            import psutil

            children = psutil.Process(self._process.pid).children(recursive=True)
            for child in children:
                child.kill()
            psutil.wait_procs(children, timeout=2)
        self._process.kill()
        with suppress(Exception):  # on Windows its files cannot be removed before it has ended
            self._process.wait(timeout=2)

    def _heard(self, line):
        event = _event(line)
        if event is None:
            if line:
                self.lines.append(line)
        elif event["event"] == "progress":
            if not self._cancelled:
                self._on_progress(event["fraction"], event["stage"])
        else:
            self._event = event

    def _done(self, code):
        self._process.stdout.close()
        event = self._event or {"event": "none"}
        if event["event"] == "result":
            self.result = event
            self._end(Cancelled() if self._cancelled else None)
        elif self._cancelled or event["event"] == "cancelled":
            self._end(Cancelled())
        elif event["event"] == "error":
            self._end(WorkerFailed(event["kind"], event["message"], self.lines))
        else:
            self._end(WorkerFailed("WorkerDied", _died(code, self.lines), self.lines))

    def _end(self, error):
        self.error = error
        self.ended = True
        self.on_end(self)


def _logged(told):
    """The callback, whose errors go to the log: Slicer would stop to listen, and the run would have no end."""

    def safely(fraction, stage):
        try:
            told(fraction, stage)
        except Exception:
            logging.exception("IR2QSM: a script's on_progress failed")

    return safely


def _event(line):
    """The event in a line, or None for anything else that was printed."""
    if not line.startswith('{"event"'):
        return None
    try:
        return json.loads(line)
    except ValueError:
        return None


def _died(code, lines):
    launcher = [line for line in lines if ABNORMAL in line]  # it gives 1 for a child that was killed
    for line in launcher:
        lines.remove(line)
    if code in (-9, 137) or launcher:
        return _(
            "The worker was ended by the system, most likely because memory ran out. Close other programs, or choose "
            "smaller tiles under Advanced, and apply again."
        )
    last = " ".join(plain(line) for line in list(lines)[-3:])
    return _("The worker ended without a result (exit code {code}). {last}").format(code=code, last=last).strip()


def plain(line):
    """A line without folders: of every path in it the last part stays."""
    for folder in (tempfile.gettempdir(), str(Path.home())):
        line = line.replace(folder, "…")
    return re.sub(r"(?:[A-Za-z]:)?[^\s\"'(]*[\\/](?=[^\s\"'/\\]+)", "", line)
