"""Several reconstructions of one field, one after another."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import slicer
from slicer.i18n import tr as _

from IR2QSMGui.run.options import Options
from IR2QSMGui.run.reconstruction import Reconstruction
from IR2QSMGui.run.worker import Cancelled


class Series:
    """Several reconstructions of one field; a map stays once it is in the scene, whatever comes after.

    A run that fails does not keep the next from being tried. Cancelling ends the present run and drops the next ones.

    Parameters
    ----------
    field, mask
        As of `Reconstruction`.
    options
        One for each run.
    outputs
        Map and uncertainty that a single run replaces.
    on_progress
        Called with the fraction of all runs done, 0 to 1, and the stage.
    on_run_end
        Called with each reconstruction at its end.
    on_end
        Called with the series at its end.

    Raises
    ------
    InputProblem
        For inputs that cannot be used, before anything is started.
    """

    def __init__(
        self,
        field: Sequence[slicer.vtkMRMLScalarVolumeNode],
        mask: slicer.vtkMRMLNode | None,
        options: Sequence[Options],
        outputs: tuple[Any, Any] = (None, None),
        on_progress: Callable[[float, str], None] | None = None,
        on_run_end: Callable[[Reconstruction], None] | None = None,
        on_end: Callable[[Series], None] | None = None,
    ) -> None:
        chi, uncertainty = outputs if len(options) == 1 else (None, None)
        self.runs = [
            Reconstruction(field, mask, one, chi, uncertainty, partial(self._progressed, n), self._run_ended)
            for n, one in enumerate(options)
        ]
        self._on_progress = on_progress or (lambda fraction, stage: None)
        self._on_run_end = on_run_end or (lambda run: None)
        self._on_end = on_end or (lambda series: None)
        self._current = 0

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

    def start(self) -> None:
        """Start the first run and raise its error if that fails; an error in the start of a later run is the run's."""
        self.runs[0].start()

    def cancel(self) -> None:
        """End the present run within two seconds; the next ones are not started."""
        self.runs[self._current].cancel()

    def kill(self) -> None:
        """End the present run at once, as when Slicer itself ends."""
        self.runs[self._current].kill()

    def _progressed(self, n: int, fraction: float, stage: str) -> None:
        if len(self.runs) > 1:
            stage = _("{method} ({n} of {all}): {stage}").format(
                method=self.runs[n].method, n=n + 1, all=len(self.runs), stage=stage
            )
        self._on_progress((n + fraction) / len(self.runs), stage)

    def _run_ended(self, run: Reconstruction) -> None:
        self._on_run_end(run)
        while self._current + 1 < len(self.runs) and not (run.dropped or isinstance(run.error, Cancelled)):
            self._current += 1
            try:
                self.runs[self._current].start()
                return
            except Exception as error:
                self.runs[self._current].error = error
                self._on_run_end(self.runs[self._current])
        self._on_end(self)
