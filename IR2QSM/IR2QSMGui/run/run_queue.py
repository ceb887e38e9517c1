"""Several reconstructions, one after another."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import slicer
from slicer.i18n import tr as _

from IR2QSMGui.run.options import Options
from IR2QSMGui.run.reconstruction import Reconstruction
from IR2QSMGui.run.worker import Cancelled


class Skipped(Cancelled):
    """The run was skipped; the next one goes on."""

    def __init__(self):
        RuntimeError.__init__(self, _("Skipped."))


class RunQueue:
    """A queue of reconstructions; a map stays once it is in the scene, whatever comes after.

    A run that fails does not keep the next from being tried. Cancelling ends the present run and drops the next ones;
    skipping ends the present run only.

    Parameters
    ----------
    on_progress
        Called with the fraction of all runs done, 0 to 1, and the stage.
    on_run_end
        Called with each reconstruction at its end.
    on_end
        Called with the queue at its end.
    """

    def __init__(
        self,
        on_progress: Callable[[float, str], None] | None = None,
        on_run_end: Callable[[Reconstruction], None] | None = None,
        on_end: Callable[[RunQueue], None] | None = None,
    ) -> None:
        self.runs: list[Reconstruction] = []
        self._on_progress = on_progress or (lambda fraction, stage: None)
        self._on_run_end = on_run_end or (lambda run: None)
        self._on_end = on_end or (lambda queue: None)
        self._current = 0
        self._skipped: Reconstruction | None = None

    def add(
        self,
        field: Sequence[slicer.vtkMRMLScalarVolumeNode],
        mask: slicer.vtkMRMLNode | None,
        options: Sequence[Options],
        outputs: tuple[Any, Any] = (None, None),
    ) -> None:
        """Add the reconstructions of a field, also while others run.

        Parameters
        ----------
        field, mask
            As of `Reconstruction`.
        options
            One for each run.
        outputs
            Map and uncertainty that a single run replaces.

        Raises
        ------
        InputProblem
            For inputs that cannot be used; nothing is added then.
        """
        chi, uncertainty = outputs if len(options) == 1 else (None, None)
        n_before = len(self.runs)
        self.runs += [
            Reconstruction(field, mask, one, chi, uncertainty, partial(self._progressed, n_before + n), self._run_ended)
            for n, one in enumerate(options)
        ]

    @property
    def maps(self) -> list[slicer.vtkMRMLScalarVolumeNode]:
        """The maps that are in the scene, in the order of the runs."""
        return [run.chi for run in self.runs if run.chi is not None]

    @property
    def dropped(self) -> bool:
        """Whether the scene was closed meanwhile."""
        return any(run.dropped for run in self.runs)

    @property
    def seconds(self) -> float:
        """Duration of all runs together [s]."""
        return sum(run.seconds for run in self.runs)

    @property
    def has_next(self) -> bool:
        """Whether a run waits."""
        return self._current + 1 < len(self.runs)

    def title(self, run: Reconstruction) -> str:
        """The method of a run; of runs on several fields, the field and the method."""
        fields = {one.field_name for one in self.runs}
        return run.method if len(fields) == 1 else f"'{run.field_name}' {run.method}"

    def start(self) -> None:
        """Start the first run that can be; the error of a single run is raised."""
        if len(self.runs) == 1:
            self.runs[0].start()
        else:
            self._start_one_of(0)

    def cancel(self) -> None:
        """End the present run within two seconds; the next ones are not started."""
        self._skipped = None
        self.runs[self._current].cancel()

    def skip(self) -> None:
        """End the present run within two seconds, and start the next one."""
        self._skipped = self.runs[self._current]
        self._skipped.cancel()

    def kill(self) -> None:
        """End the present run at once, as when Slicer itself ends."""
        self.runs[self._current].kill()

    def _progressed(self, n: int, fraction: float, stage: str) -> None:
        if len(self.runs) > 1:
            stage = _("{method} ({n} of {all}): {stage}").format(
                method=self.title(self.runs[n]), n=n + 1, all=len(self.runs), stage=stage
            )
        self._on_progress((n + fraction) / len(self.runs), stage)

    def _run_ended(self, run: Reconstruction) -> None:
        if run is self._skipped and isinstance(run.error, Cancelled) and not run.dropped:
            run.error = Skipped()
        self._on_run_end(run)
        cancelled = isinstance(run.error, Cancelled) and not isinstance(run.error, Skipped)
        if run.dropped or cancelled:
            self._on_end(self)
        else:
            self._start_one_of(self._current + 1)

    def _start_one_of(self, n: int) -> None:
        """Start the n-th run, or the next one that can be started; the queue ends where there is none."""
        for index in range(n, len(self.runs)):
            self._current = index
            try:
                self.runs[index].start()
                return
            except Exception as error:
                self.runs[index].error = error
                self._on_run_end(self.runs[index])
        self._on_end(self)
