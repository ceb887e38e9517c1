"""How long runs may take, by earlier ones."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import qt
import slicer


@pytest.fixture
def durations(panel: Any) -> ModuleType:
    from IR2QSMGui.run import durations

    return durations


@pytest.fixture
def work(durations: ModuleType, scene: Any) -> Callable[..., Any]:
    """The work of a method on a volume of so many slices of 10,000 voxels."""
    from IR2QSMGui.run.options import Options

    def make(n_slices: int = 100, n_phases: int = 1, **options: Any) -> Any:
        volume = slicer.util.addVolumeFromArray(np.zeros((n_slices, 100, 100), np.float32))
        return durations.Work.of(Options(**{"input": "local-field", "method": "tkd", **options}), [volume] * n_phases)

    return make


def test_a_range_is_said_before_any_run(durations: ModuleType, work: Callable[..., Any]) -> None:
    low, high = durations.estimate([work()])
    assert 1.0 <= low < high <= 60.0  # a direct method takes seconds
    assert durations.sentence([work()]) == "Takes 3 s to 20 s; known better after a run."
    for more in ({"n_slices": 200}, {"method": "ir2qsm"}, {"n_phases": 3, "input": "phase"}):
        low_more, high_more = durations.estimate([work(**more)])
        assert low_more > low and high_more > high, more
    network, with_uncertainty = work(method="ir2qsm"), work(method="ir2qsm", uncertainty=True)
    assert durations.estimate([with_uncertainty])[1] > durations.estimate([network])[1] > 30.0
    both = durations.estimate([work(), network])
    assert both == pytest.approx(np.add(durations.estimate([work()]), durations.estimate([network])))
    assert durations.sentence([]) == ""


def test_the_next_run_is_judged_by_the_last_ones(durations: ModuleType, work: Callable[..., Any]) -> None:
    durations.remember(work(), 5.0, 25.0)
    assert durations.estimate([work()]) == (25.0, 25.0)
    assert durations.sentence([work()]) == "Takes about 25 s, by earlier runs."
    assert durations.estimate([work(200)]) == (45.0, 45.0)  # the start takes as long as before
    for other in ({"method": "tv"}, {"device": "cpu"}, {"input": "total-field"}, {"regularisation": "auto"}):
        low, high = durations.estimate([work(**other)])
        assert low < high, other
    durations.remember(work(400), 5.0, 200.0)
    assert durations.estimate([work(380)])[0] == pytest.approx(5.0 + 195.0 * 380 / 400)
    assert durations.sentence([work(400)] * 2) == "Takes about 7 min, by earlier runs."
    durations.remember(work(), 4.0, 10.0)  # the latest of as many voxels counts
    assert durations.estimate([work()]) == (10.0, 10.0)
    known_and_not = durations.estimate([work(), work(method="tv")])
    assert known_and_not[0] < known_and_not[1]


@pytest.mark.parametrize("text", ["", "nonsense", "[1, 2]", '{"tkd": [[1]]}', '{"tkd": [["a", "b", "c"]]}'])
def test_damaged_settings_are_as_none(durations: ModuleType, work: Callable[..., Any], text: str) -> None:
    qt.QSettings().setValue(durations.KEY, text)
    assert durations.sentence([work()]).endswith("known better after a run.")
    durations.remember(work(), 1.0, 2.0)
    assert durations.estimate([work()]) == (2.0, 2.0)


def test_only_the_latest_runs_are_kept(durations: ModuleType, work: Callable[..., Any]) -> None:
    one = work()
    for seconds in range(20):
        durations.remember(one, 0.0, float(seconds))
    assert len(str(qt.QSettings().value(durations.KEY))) < 200 and durations.estimate([one]) == (19.0, 19.0)
