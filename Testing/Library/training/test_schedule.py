"""The learning rate over a run, and a timer that keeps time for the last checkpoint."""

from __future__ import annotations

from itertools import pairwise

import pytest

from IR2QSMLib.training.schedule import WARM_UP_STEPS, RunTimer, learning_rate


class Clock:
    """A clock that is set by hand."""

    time = 1000.0

    def __call__(self) -> float:
        return self.time


def timer_of(clock: Clock, minutes: float, sitting: float | None = None) -> RunTimer:
    return RunTimer(minutes, sitting, clock, lambda value: value)


def test_the_learning_rate_rises_linearly_in_the_warm_up() -> None:
    rates = [learning_rate(1e-3, 0.0, step) for step in range(WARM_UP_STEPS + 10)]
    assert rates[0] == pytest.approx(1e-3 / WARM_UP_STEPS) and rates[-1] == pytest.approx(1e-3)
    steps = [b - a for a, b in pairwise(rates[:WARM_UP_STEPS])]
    assert steps == pytest.approx([steps[0]] * len(steps))


def test_the_learning_rate_falls_along_a_cosine_and_then_stays() -> None:
    rates = [learning_rate(1e-3, fraction, 1000) for fraction in (0.0, 0.25, 0.5, 0.75, 1.0, 1.7)]
    assert rates == pytest.approx([1e-3, 8.5355e-4, 5e-4, 1.4645e-4, 1e-6, 1e-6], rel=1e-3)


def test_a_round_is_not_begun_when_it_and_a_checkpoint_no_longer_fit() -> None:
    clock = Clock()
    timer = timer_of(clock, 1.0)
    timer.slowest_round, timer.slowest_save = 10.0, 5.0
    clock.time += 41.0
    timer.update()
    assert timer.another_round_fits()
    clock.time += 2.0
    assert timer.another_round_fits()  # the time is that of the last update
    timer.update()
    assert not timer.another_round_fits()


def test_a_sitting_ends_before_its_run_and_the_next_one_continues() -> None:
    clock = Clock()
    first = timer_of(clock, 2.0, sitting=0.5)
    clock.time += 31.0
    first.update()
    assert not first.another_round_fits() and first.sitting_fraction == 1.0
    assert first.run_fraction == pytest.approx(31.0 / 120.0)
    second = timer_of(clock, 2.0, sitting=0.5)
    second.resume(first.elapsed, 1.0, 1.0)
    assert second.another_round_fits() and second.sitting_fraction == 0.0
    clock.time += 15.0
    second.update()
    assert second.elapsed == pytest.approx(46.0) and second.sitting_fraction == pytest.approx(0.5)
    last = timer_of(clock, 2.0, sitting=5.0)
    last.resume(119.0, 1.0, 1.0)
    assert not last.another_round_fits()  # the run's own end comes first
