"""Progress, end and cancellation of a run: a bar for people, JSON lines for Slicer."""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from IR2QSMLib.cli.streams import is_terminal, one_line, write_text
from IR2QSMLib.core.errors import Cancelled, IR2QSMError, OutOfMemory, is_out_of_memory

if TYPE_CHECKING:
    from IR2QSMLib.io.outputs import Outputs

MODES = ("bar", "json", "none")
DONE, FAULT, BAD_INPUT, CANCELLED = 0, 1, 2, 3
POLL_SECONDS = 0.1
"""Between two looks for the cancel file."""
STANDARD_INPUT = Path("-")
"""In place of a cancel file: the run ends when its standard input does, as by the end of the process that holds it."""
GRACE_SECONDS = 1.2
"""In which a cancelled run may end by itself; two seconds in all are promised."""


class Console:
    """Progress, results and errors of one command, and its cancellation by file, Ctrl-C or SIGTERM."""

    def __init__(self, mode: str, cancel_file: Path | None = None, out: TextIO | None = None) -> None:
        self.mode = mode
        self.out = out or sys.stdout
        self._outputs: Outputs | None = None
        self._cancel_file = cancel_file
        self._cancelled = threading.Event()
        self._ended = threading.Event()
        self._lock = threading.RLock()
        self._start = time.monotonic()
        self._shown = -1
        self._fraction = 0.0

    @property
    def outputs(self) -> Outputs:
        """The files of the run; imported late, so that Ctrl-C works before torch is imported."""
        if self._outputs is None:
            from IR2QSMLib.io.outputs import Outputs

            self._outputs = Outputs()
        return self._outputs

    def run(self, work: Callable[[], dict[str, Any] | None]) -> int:
        """Do the work, report its result or its error, and return the exit code."""
        try:
            with self._cancellable():
                return self._run(work)
        except (MemoryError, RuntimeError) as error:  # the thread that notices a cancellation could not be started
            if not is_out_of_memory(error):
                raise
            return self._out_of_memory()

    def _run(self, work: Callable[[], dict[str, Any] | None]) -> int:
        try:
            result = work()
            if self._cancelled.is_set() and not self._discard():
                raise Cancelled
            if result is not None:
                self._end("result", **result)
            return DONE
        except (Cancelled, KeyboardInterrupt):
            self._discard()
            self._end("cancelled")
            return CANCELLED
        except IR2QSMError as error:
            self._discard()
            self._end("error", kind=error.kind, option=error.option, message=one_line(str(error)))
            return BAD_INPUT
        except Exception as error:
            self._discard()
            if is_out_of_memory(error):
                return self._out_of_memory()
            write_text(traceback.format_exc(), sys.stderr, end="")
            self._end("error", kind="InternalError", option=None, message=f"{type(error).__name__}; please report it.")
            return FAULT

    def _out_of_memory(self) -> int:
        self._end("error", kind=OutOfMemory.__name__, option=None, message=str(OutOfMemory()))
        return BAD_INPUT

    def progress(self, fraction: float, stage: str) -> None:
        """The progress callback; raises Cancelled once the run was cancelled."""
        self.require_going_on()
        fraction = self._fraction = max(fraction, self._fraction)  # a smaller tile or another device starts anew
        if self.mode == "json":
            self._line("progress", fraction=round(fraction, 4), stage=stage, message=f"{stage}, {fraction:.0%}")
        elif self.mode == "bar":
            self._bar(fraction, stage)

    def require_going_on(self) -> None:
        """Raise Cancelled once the run was cancelled."""
        if self._cancelled.is_set():
            raise Cancelled

    def say(self, text: str) -> None:
        """A line for people; on standard error where standard output carries JSON."""
        write_text(text, sys.stderr if self.mode == "json" else self.out)

    def _bar(self, fraction: float, stage: str) -> None:
        percent = int(100 * fraction)
        if percent == self._shown or not is_terminal(sys.stderr):
            return
        self._shown = percent
        elapsed = time.monotonic() - self._start
        left = f"{elapsed / fraction - elapsed:4.0f} s left" if fraction > 0.02 else " " * 11
        filled = "█" * (percent // 4)
        end = "\n" if percent >= 100 else ""
        write_text(f"\r{filled:<25} {percent:3d} % {left}  {stage:<22}", sys.stderr, end)

    def _line(self, event: str, **values: Any) -> None:
        with self._lock:
            if not self._ended.is_set():
                write_text(json.dumps({"event": event, **values}), self.out)

    def _end(self, event: str, **values: Any) -> bool:
        """Print how the run ended, if that was not printed before; returns whether it is printed now."""
        with self._lock:
            if self._ended.is_set():
                return False
            if self.mode == "json":
                self._line(event, **values)
            else:
                sentences = {"error": [f"ir2qsm: {values.get('message')}"], "cancelled": [f"ir2qsm: {Cancelled()}"]}
                warnings = [f"warning: {one_line(warning)}" for warning in values.get("warnings", [])]
                for sentence in sentences.get(event, warnings):
                    write_text(f"{self._clear()}{sentence}", sys.stderr)
            self._ended.set()
            return True

    def _clear(self) -> str:
        return "\r\033[K" if self._shown >= 0 and is_terminal(sys.stderr) else ""

    def _discard(self) -> bool:
        """Remove unfinished files; returns whether all files are in place already, so that it is too late to cancel."""
        if self._outputs is None:
            return False
        self._outputs.discard()
        return self._outputs.kept

    @contextmanager
    def _cancellable(self) -> Iterator[None]:
        """Notice Ctrl-C, SIGTERM and the cancel file, even while the main thread is inside a long call into torch."""
        # Python runs signal handlers in the main thread only; the number of a signal reaches this socket at once.
        receiver, sender = socket.socketpair()
        receiver.setblocking(False)
        sender.setblocking(False)
        signals = [s for s in (signal.SIGINT, signal.SIGTERM) if signal.getsignal(s) is not signal.SIG_IGN]
        previous_handlers = {s: signal.signal(s, lambda *_: self._cancelled.set()) for s in signals}
        previous_wakeup = signal.set_wakeup_fd(sender.fileno(), warn_on_full_buffer=False)
        watcher = threading.Thread(target=self._watch, args=(receiver,), daemon=True)
        watcher.start()
        if self._cancel_file == STANDARD_INPUT:
            threading.Thread(target=self._watch_standard_input, daemon=True).start()
        try:
            yield
        finally:
            self._ended.set()
            watcher.join()
            signal.set_wakeup_fd(previous_wakeup)
            for number, handler in previous_handlers.items():
                signal.signal(number, handler)
            receiver.close()
            sender.close()

    def _watch(self, signal_numbers: socket.socket) -> None:
        """Wait to be cancelled; end the process where a long call does not let it end itself."""
        while not self._cancelled.is_set():
            if self._ended.wait(POLL_SECONDS):
                return
            with suppress(BlockingIOError):
                if {signal.SIGINT, signal.SIGTERM} & set(signal_numbers.recv(64)):
                    self._cancelled.set()
            if self._cancel_file not in (None, STANDARD_INPUT) and self._cancel_file.exists():
                self._cancelled.set()
        if not self._ended.wait(GRACE_SECONDS) and not self._discard() and self._end("cancelled"):
            os._exit(CANCELLED)

    def _watch_standard_input(self) -> None:
        """Wait until standard input ends."""
        with suppress(OSError):
            while os.read(0, 1024):
                pass
        self._cancelled.set()
