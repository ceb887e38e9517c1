"""The line and the bar below Apply."""

from __future__ import annotations

import time
from typing import Any

import qt
from slicer.i18n import tr as _

from IR2QSMGui.panel.widgets import PROBLEM_STYLE
from IR2QSMGui.run.run_queue import RunQueue, Skipped
from IR2QSMGui.run.worker import Cancelled

INTERVAL_MS = 500
"""Between two updates of the elapsed time."""


def clock(seconds: float) -> str:
    """Minutes and seconds."""
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"


class Status:
    """Says how far a run is, or what is wrong.

    Parameters
    ----------
    label
        The line.
    bar
        The bar, 0 to 1000; it is shown during a run only.
    """

    def __init__(self, label: qt.QLabel, bar: qt.QProgressBar) -> None:
        self._label, self._bar = label, bar
        self._began, self._fraction, self._stage, self._failures = 0.0, 0.0, "", ""
        self._timer = qt.QTimer()
        self._timer.setInterval(INTERVAL_MS)
        self._timer.timeout.connect(self._update)
        bar.setVisible(False)

    def say(self, text: str, is_problem: bool = False) -> None:
        """Show a sentence, in red where it is a problem."""
        self._label.setText(text)
        self._label.setStyleSheet(PROBLEM_STYLE if is_problem else "")

    def begin(self) -> None:
        """Show the bar and the elapsed time: a run begins."""
        self._began, self._fraction, self._stage, self._failures = time.monotonic(), 0.0, _("starting"), ""
        self._bar.setValue(0)
        self._bar.setVisible(True)
        self._timer.start()
        self._update()

    def progressed(self, fraction: float, stage: str) -> None:
        """Note how far the runs are; it is shown with the next update."""
        self._fraction, self._stage = fraction, stage

    def failed(self, sentence: str) -> None:
        """Note which of several runs failed; it stays before the progress of the others."""
        self._failures += f"{sentence} "

    def end(self) -> None:
        """Hide the bar: no run any more."""
        self._timer.stop()
        self._bar.setVisible(False)

    def _update(self, *_args: Any) -> None:
        elapsed, done = time.monotonic() - self._began, self._fraction
        text = _("{stage}: {elapsed} elapsed").format(stage=self._stage, elapsed=clock(elapsed))
        if done > 0.05:
            text += _(", about {left} left").format(left=clock(elapsed / done - elapsed))
        self._bar.setValue(int(1000 * done))
        self.say(self._failures + text, bool(self._failures))


def outcome(queue: RunQueue) -> tuple[str, bool]:
    """What became of a queue of runs, in sentences for the status line, and whether that is a problem."""
    runs = queue.runs
    if queue.dropped:
        return "", False
    failed = [run for run in runs if run.error is not None and not isinstance(run.error, Cancelled)]
    finished = [run for run in runs if run.chi is not None]
    if len(runs) == 1 and not finished:
        return str(runs[0].error), bool(failed)
    skipped = [run for run in runs if isinstance(run.error, Skipped)]
    sentences = [f"{queue.title(run)}: {run.error}" for run in (*failed, *skipped)]
    if any(isinstance(run.error, Cancelled) and run not in skipped for run in runs):
        kept = ", ".join(map(queue.title, finished))
        cancelled = _("Cancelled; what was finished stays: {kept}.").format(kept=kept) if kept else str(Cancelled())
        sentences.append(cancelled)
    elif finished:
        sentences.append(_("Done in {elapsed}.").format(elapsed=clock(queue.seconds)))
    notes = dict.fromkeys(note for run in finished for note in run.notes)
    return " ".join([*sentences, *notes]), bool(failed)
