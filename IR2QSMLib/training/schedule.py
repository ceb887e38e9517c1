"""The time of a run over its sittings, by a clock that is passed in, and the learning rate that follows it."""

from __future__ import annotations

import math
from collections.abc import Callable

WARM_UP_STEPS = 30
"""Steps over which the learning rate rises to its highest value."""
MIN_SHARE = 1e-3
"""Share of the highest learning rate at the end."""
RESERVE = 1.2
"""Factor on the slowest round and the slowest checkpoint so far, whose time is kept for the next ones."""


def learning_rate(highest: float, fraction: float, step: int) -> float:
    """The learning rate after a share of the run's time: a linear warm-up and a cosine.

    Parameters
    ----------
    highest : float
        The highest learning rate.
    fraction : float
        Share of the run's time that has passed, 0 to 1; later, the rate stays.
    step : int
        Number of the step, from 0.
    """
    cosine = 0.5 * (1.0 + math.cos(math.pi * min(fraction, 1.0)))
    return highest * max(cosine, MIN_SHARE) * min(1.0, (step + 1) / WARM_UP_STEPS)


class RunTimer:
    """How much of a run's time has passed, and whether another round and the checkpoint after it still fit.

    Parameters
    ----------
    minutes : float
        The run's time over all its sittings.
    sitting : float, optional
        Time of this sitting [minutes]; without it, it may last until the run ends.
    clock : callable
        Seconds, rising; a sitting begins when the timer is made.
    broadcast : callable
        Gives every device what the first of them passes: one clock decides for all.

    Attributes
    ----------
    elapsed : float
        Seconds over all sittings, at the last `update`.
    slowest_round, slowest_save : float
        The longest round and checkpoint so far [s].
    """

    def __init__(
        self, minutes: float, sitting: float | None, clock: Callable[[], float], broadcast: Callable[[float], float]
    ) -> None:
        self.clock, self.broadcast = clock, broadcast
        self.run_seconds, self.sitting_seconds = 60.0 * minutes, 60.0 * (sitting or minutes)
        self._began = clock()
        self.resume(0.0, 0.0, 0.0)

    def resume(self, elapsed: float, slowest_round: float, slowest_save: float) -> None:
        """Continue a run after earlier sittings, of which these times [s] are known."""
        self.elapsed, self.slowest_round, self.slowest_save = elapsed, slowest_round, slowest_save
        self._before = elapsed
        self._end = min(self.run_seconds, elapsed + self.sitting_seconds)
        self.reserve = 0.0

    def now(self) -> float:
        """Seconds over all sittings, by this device's clock."""
        return self.clock() - self._began + self._before

    def update(self) -> None:
        """Let the time pass up to now, on every device alike."""
        self.elapsed = self.broadcast(self.now())

    def another_round_fits(self) -> bool:
        """Whether a round and a checkpoint still fit into the sitting; the same answer on every device."""
        self.reserve = self.broadcast(RESERVE * (self.slowest_save + self.slowest_round))
        return self.elapsed + self.reserve < self._end

    @property
    def run_fraction(self) -> float:
        """Share of the time for training that has passed, over all sittings."""
        return self.elapsed / max(self.run_seconds - self.reserve, 1.0)

    @property
    def sitting_fraction(self) -> float:
        """Share of this sitting that has passed by now, at most 1."""
        return min((self.now() - self._before) / (self._end - self._before), 1.0)
