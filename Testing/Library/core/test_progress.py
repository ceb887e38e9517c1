"""Progress of parts of a task, and seconds by stage."""

from __future__ import annotations

import time

import pytest

from IR2QSMLib.core.progress import Stopwatch, part_of


def test_progress_of_a_part_maps_to_its_share() -> None:
    events: list[tuple[float, str]] = []
    inner = part_of(part_of(lambda *event: events.append(event), 0.5, 0.9), 0.25, 0.75)
    for fraction in (0.0, 0.5, 1.0):
        inner(fraction, "inversion")
    assert [stage for _, stage in events] == ["inversion"] * 3
    assert [fraction for fraction, _ in events] == pytest.approx([0.6, 0.7, 0.8])


def test_callback_that_raises_ends_the_run_through_every_part() -> None:
    def stop(fraction: float, stage: str) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        part_of(stop, 0.0, 0.5)(0.1, "inversion")


def test_stopwatch_adds_up_stages_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([0.0, 1.0, 3.0, 6.0, 10.0, 100.0])
    monkeypatch.setattr(time, "monotonic", lambda: next(clock))
    watch = Stopwatch()
    for stage in ("reading", "inversion", "reading", None, "writing"):
        watch.stage(stage)
    assert watch.seconds == {"reading": 6.0, "inversion": 3.0}
    assert list(watch.seconds) == ["reading", "inversion"]
