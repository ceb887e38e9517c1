"""The panel's Apply, Cancel, Skip and Queue: installation, runs and what is said about them."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import qt
from slicer.i18n import tr as _

from IR2QSMGui.panel.log import Log
from IR2QSMGui.panel.option_marks import OptionMarks
from IR2QSMGui.panel.readiness import Choice
from IR2QSMGui.panel.status import Status, clock, outcome
from IR2QSMGui.panel.widgets import show_note
from IR2QSMGui.parameters import Input, InputProblem
from IR2QSMGui.run import durations, install
from IR2QSMGui.run.options import Options
from IR2QSMGui.run.reconstruction import Reconstruction
from IR2QSMGui.run.run_queue import RunQueue
from IR2QSMGui.run.worker import Cancelled, WorkerFailed


class ApplySection:
    """Starts and cancels runs.

    Parameters
    ----------
    ui
        The panel's widgets.
    log
        The report.
    choice
        Returns what the person has chosen, None while the panel is not in view.
    on_changed
        Called without arguments when a run begins or ends, and after an installation.
    on_maps
        Called with a queue that has made maps.
    """

    def __init__(
        self,
        ui: Any,
        log: Log,
        choice: Callable[[], Choice | None],
        on_changed: Callable[[], None],
        on_maps: Callable[[RunQueue], None],
    ) -> None:
        self._ui, self._log = ui, log
        self._choice, self._on_changed, self._on_maps = choice, on_changed, on_maps
        self._status = Status(ui.statusLabel, ui.progressBar)
        self._marks = OptionMarks(ui)
        self._queue: RunQueue | None = None
        self._installing = self._closed = False
        self._settings_problem = ""
        self.say = self._status.say
        ui.applyButton.clicked.connect(self._apply_or_cancel)
        ui.skipButton.clicked.connect(self._skip)
        ui.queueButton.clicked.connect(self._add_choice)
        self._shortcuts = [
            self._shortcut(keys, slot)
            for slot, several in ((self._apply_key, ("Ctrl+Return", "Ctrl+Enter")), (self._cancel_key, ("Esc",)))
            for keys in several
        ]

    @property
    def running(self) -> bool:
        """Whether a run goes on."""
        return self._queue is not None

    def update(self, ready: bool, settings_problem: str) -> None:
        """Let Apply be pressed when the choice is ready, and say what is wrong with the settings."""
        ui = self._ui
        ui.applyButton.setText(_("Cancel") if self.running else _("Apply"))
        ui.applyButton.setEnabled(self.running or (ready and not self._installing))
        ui.queueButton.setEnabled(ready)
        ui.queueButton.setVisible(self.running)
        ui.skipButton.setVisible(self._queue is not None and self._queue.has_next)
        show_note(ui.estimateNote, self._estimate() if ready and not self.running else "")
        if not self.running and settings_problem != self._settings_problem:  # else what a run said last stays
            self.say(settings_problem, bool(settings_problem))
        self._settings_problem = settings_problem

    def settings_changed(self) -> None:
        """Take away the mark of a setting that the last run refused."""
        self._marks.mark(None)

    def forget_settings(self) -> None:
        """The settings of another scene, or none, come next."""
        self._settings_problem = ""

    def scene_replaced(self) -> None:
        """Take away what was said of the former scene."""
        if not self.running:
            self.say("")
            self._marks.mark(None)

    def close(self) -> None:
        """End a run at once: the module is unloaded or Slicer ends."""
        self._closed = True
        self._status.end()
        if self._queue is not None:
            self._queue.kill()

    def _apply_or_cancel(self, *_args: Any) -> None:
        if self._queue is not None:
            self._ui.applyButton.setEnabled(False)
            self._ui.skipButton.setEnabled(False)
            self._status.end()
            self.say(_("Cancelling…"))
            self._queue.cancel()
            return
        choice = self._choice()
        if choice is None:
            return
        message, is_problem, self._installing = "", False, True
        try:
            needs_phase = choice.parameters.input is not Input.LOCAL
            if install.install(phase=needs_phase, on_begin=self._installation_begins):
                message = _("Installed. The field is now being inspected; press Apply when that is done.")
            else:
                self._start(choice)
        except (InputProblem, RuntimeError, OSError) as problem:
            self._queue = None
            self._status.end()
            message, is_problem = str(problem), True
        finally:
            self._installing = False
            self._ui.applyButton.unsetCursor()
        self._on_changed()
        if message:
            self.say(message, is_problem)

    def _shortcut(self, keys: str, slot: Callable[..., None]) -> qt.QShortcut:
        """Call `slot` for these keys while the panel has the keyboard."""
        shortcut = qt.QShortcut(qt.QKeySequence(keys), self._ui.applyButton.parentWidget())
        shortcut.setContext(qt.Qt.WidgetWithChildrenShortcut)
        shortcut.activated.connect(slot)
        return shortcut

    def _apply_key(self, *_args: Any) -> None:
        if not self.running and self._ui.applyButton.isEnabled():
            self._apply_or_cancel()

    def _cancel_key(self, *_args: Any) -> None:
        if self.running and self._ui.applyButton.isEnabled():
            self._apply_or_cancel()

    def _installation_begins(self, names: list[str]) -> None:
        """Say so before packages are installed, which holds up the window."""
        self._ui.applyButton.setEnabled(False)
        self._ui.applyButton.setCursor(qt.QCursor(qt.Qt.WaitCursor))
        self.say(_("Installing {names}. This takes minutes…").format(names=", ".join(names)))
        self._ui.statusLabel.repaint()

    def _start(self, choice: Choice) -> None:
        self._marks.mark(None)
        self._queue = queue = RunQueue(self._status.progressed, self._run_ended, self._queue_ended)
        self._add(queue, choice)
        self._ui.skipButton.setEnabled(True)
        self._status.begin()
        queue.start()

    def _add(self, queue: RunQueue, choice: Choice) -> None:
        parameters, options = choice.parameters, choice.options()
        chi = parameters.chi
        outputs = (chi, None if chi is None else chi.GetNodeReference("IR2QSM.uncertainty"))
        queue.add(choice.phases, parameters.mask, options, outputs)
        for one in options:
            arguments = _("Apply: {arguments}").format(arguments=_without_folders(one))
            self._log.add(f"— {time.strftime('%H:%M:%S')}", arguments)

    def _add_choice(self, *_args: Any) -> None:
        """Add the runs that are chosen now to those that go on."""
        choice = self._choice()
        if self._queue is None or choice is None:
            return
        try:
            self._add(self._queue, choice)
        except InputProblem as problem:
            self.say(str(problem), True)
        self._on_changed()

    def _skip(self, *_args: Any) -> None:
        if self._queue is not None:
            self._ui.skipButton.setEnabled(False)  # until the next run begins
            self._queue.skip()

    def _estimate(self) -> str:
        choice = self._choice()
        if choice is None or choice.parameters.field is None:
            return ""
        return durations.sentence([durations.Work.of(one, choice.phases) for one in choice.options()])

    def _run_ended(self, run: Reconstruction) -> None:
        self._ui.skipButton.setEnabled(True)
        if run.dropped or self._queue is None:
            return
        title = self._queue.title(run)
        if run.error is not None:
            self._log.add(f"{title}: {run.error}", *getattr(run.error, "lines", []))
            if not isinstance(run.error, Cancelled):
                self._status.failed(f"{title}: {run.error}")
        else:
            elapsed = _("Done in {elapsed}.").format(elapsed=clock(run.seconds))
            self._log.add(f"{title}:", *run.log, *run.notes, elapsed)
            durations.remember(run.work, run.seconds_to_start, run.seconds)
        self._ui.skipButton.setVisible(self._queue.has_next)

    def _queue_ended(self, queue: RunQueue) -> None:
        self._queue = None
        if self._closed:
            return
        self._status.end()
        self._on_changed()
        if queue.maps and not queue.dropped:
            self._on_maps(queue)
        text, is_problem = outcome(queue)
        self.say(self._marks.with_names(text), is_problem)
        options = [run.error.option for run in queue.runs if isinstance(run.error, WorkerFailed)]
        self._marks.mark(next(filter(None, options), None))


def _without_folders(options: Options) -> str:
    return " ".join(Path(a).name if Path(a).is_absolute() else a for a in options.arguments())
