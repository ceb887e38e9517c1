"""Progress, cancellation through it, and seconds by stage."""

from __future__ import annotations

import time
from collections.abc import Callable

Progress = Callable[[float, str], None]
"""A callback of the fraction done, 0 to 1, and the name of the stage; it raises Cancelled to end the run."""


def silent(fraction: float, stage: str) -> None:
    """A progress callback that does nothing."""


def part_of(progress: Progress, start: float, end: float) -> Progress:
    """A progress callback for one part of a task: its 0 to 1 are `start` to `end` of the whole task's `progress`."""
    return lambda fraction, stage: progress(start + (end - start) * fraction, stage)


class Stopwatch:
    """Seconds by stage, in the order in which the stages began."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._stage: str | None = None
        self._since = time.monotonic()

    def stage(self, name: str | None) -> None:
        """End the current stage and begin the stage `name`; None ends the last."""
        now = time.monotonic()
        if self._stage is not None:
            self.seconds[self._stage] = self.seconds.get(self._stage, 0.0) + now - self._since
        self._stage, self._since = name, now
