"""What the panel says: how far a run is, what is wrong, and the log of what was done."""

import platform
import time

import qt
import slicer
from slicer.i18n import tr as _

from IR2QSMGui.run.worker import Cancelled, plain

PROBLEM = "color: #C62828;"
TICK = 500
"""Milliseconds between two looks at the clock."""


def note(label, text, bad=False):
    """Show a sentence, as a problem where it is one; nothing where there is none."""
    label.setText(text)
    label.setStyleSheet(PROBLEM if bad else "")
    label.setVisible(bool(text))


def clock(seconds):
    """Minutes and seconds."""
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"


class Status:
    """The line and the bar below Apply."""

    def __init__(self, label, bar):
        self._label, self._bar = label, bar
        self._began, self._fraction, self._stage = 0.0, 0.0, ""
        self._clock = qt.QTimer()
        self._clock.setInterval(TICK)
        self._clock.timeout.connect(self._tick)
        bar.setVisible(False)

    def say(self, text, bad=False):
        """Show a sentence, as a problem or not."""
        self._label.setText(text)
        self._label.setStyleSheet(PROBLEM if bad else "")

    def begin(self):
        """A run begins: show the bar, and count."""
        self._began, self._fraction, self._stage = time.monotonic(), 0.0, _("starting")
        self._bar.setValue(0)
        self._bar.setVisible(True)
        self._clock.start()
        self._tick()

    def progressed(self, fraction, stage):
        """How far the run is; shown with the next tick of the clock."""
        self._fraction, self._stage = fraction, stage

    def end(self):
        """No run any more; what was said last stays."""
        self._clock.stop()
        self._bar.setVisible(False)

    def _tick(self):
        spent, done = time.monotonic() - self._began, self._fraction
        text = _("{stage}: {spent} elapsed").format(stage=self._stage, spent=clock(spent))
        if done > 0.05:
            text += _(", about {left} left").format(left=clock(spent / done - spent))
        self._bar.setValue(int(1000 * done))
        self.say(text)


class Log:
    """What ran, with what, without names of volumes, patients and folders; `nodes()` are those that may be named."""

    def __init__(self, text, nodes):
        self._text, self._nodes = text, nodes
        self._known = {}

    def add(self, *lines):
        """Add lines; the names of volumes that are chosen, or were when a line was added, become what they are."""
        self._known |= {node.GetName(): role for role, node in reversed(self._nodes().items()) if node}
        for line in lines:
            for name, role in self._known.items():
                line = line.replace(f"'{name}'", f"'{role}'")
            self._text.appendPlainText(plain(line))

    def copy(self, *_args):
        """Copy the report to the clipboard."""
        slicer_version = slicer.app.property("applicationVersion")
        head = f"IR2QSM, Slicer {slicer_version}, {platform.system()} {platform.machine()}"
        slicer.app.clipboard().setText(f"{head}\n{self._text.toPlainText()}")


def outcome(series):
    """What became of a run, in a sentence for the status line, and whether that is a problem."""
    runs = series.runs
    if series.dropped:
        return "", False
    failed = [run for run in runs if run.error is not None and not isinstance(run.error, Cancelled)]
    finished = [run for run in runs if run.chi is not None]
    if len(runs) == 1 and not finished:
        return str(runs[0].error), bool(failed)
    words = [f"{run.method}: {run.error}" for run in failed]
    if any(isinstance(run.error, Cancelled) for run in runs):
        kept = ", ".join(run.method for run in finished)
        words.append(_("Cancelled; what was finished stays: {kept}.").format(kept=kept) if kept else str(Cancelled()))
    elif finished:
        words.append(_("Done in {spent}.").format(spent=clock(series.seconds)))
    notes = dict.fromkeys(line for run in finished for line in run.notes)
    return " ".join([*words, *notes]), bool(failed)
