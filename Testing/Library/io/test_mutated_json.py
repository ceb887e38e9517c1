"""JSON files of any content: what is read of them stands in them, or one sentence says why not."""

from __future__ import annotations

import contextlib
import json
import math
import random
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from IR2QSMLib.core.errors import IR2QSMError
from IR2QSMLib.evaluation.measured_benchmark import MeasuredCase
from IR2QSMLib.io.scans import find_acquisition
from IR2QSMLib.pipeline.inputs import load_inputs
from IR2QSMLib.pipeline.inspection import inspect_image
from Testing.Library.mutations import mutated
from Testing.Library.scanners import random_scan

SHAPE, AFFINE = (10, 11, 12), np.diag([1.0, 1.5, 2.0, 1.0])
HZ_PER_PPM_AND_TESLA = 42.576
LOADED: dict[str, int] = {}
"""How many files of each kind could be read."""

ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text("aµ0-", max_size=6) | st.just(10**400),
    lambda values: st.lists(values, max_size=4) | st.dictionaries(st.text("ab", max_size=2), values, max_size=3),
    max_leaves=6,
)
UNITS = {"ppm": 0.02, "ppb": 20.0, "Hz": 2.5, "hertz": 2.5, "rad": 0.3, "radians": 0.3, "rad/s": 16.0, "T": 6e-8}
"""Units and a local field's size in each, at 3 T and 20 ms."""


def several(**likely: list[Any]) -> st.SearchStrategy[dict[str, Any]]:
    """Objects with some of these keys, whose values are likely ones or anything."""
    values = {key: st.sampled_from(choices) | ANY for key, choices in likely.items()}
    return st.fixed_dictionaries({}, optional=values)


def one_time(n_examples: int) -> settings:
    """So many examples, the same ones in each run."""
    skipped = [HealthCheck.too_slow, HealthCheck.function_scoped_fixture, HealthCheck.differing_executors]
    return settings(
        max_examples=n_examples, derandomize=True, database=None, deadline=None, suppress_health_check=skipped
    )


def written(file: Path, content: Any, seed: int) -> Any:
    """Write a JSON file, of which one in four has faults in its bytes; returns what it says, None for nothing."""
    data = json.dumps(content).encode()
    if seed % 4 == 0:
        data = mutated(data, len(data), random.Random(seed))
    file.write_bytes(data)
    try:
        return json.loads(data.decode("utf-8-sig"))
    except (RecursionError, ValueError):
        return None


def as_number(value: Any) -> float:
    """A number of JSON, NaN for anything else."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    try:
        return float(value) if is_number else math.nan
    except OverflowError:
        return math.inf


def image(folder: Path, name: str, values: np.ndarray) -> Path:
    nibabel.save(nibabel.Nifti1Image(values.astype(np.float32), AFFINE), folder / name)
    return folder / name


# -- sidecars of a field ----------------------------------------------------------------------------------------------


FIELD_SIDECARS = several(
    Units=[*UNITS, "", "T/m"],
    MagneticFieldStrength=[3, 3.0, 7, 30000, 0],
    EchoTime=[0.02, 0.0001, 20, [0.02], 0],
    B0_dir=[[0, 0, 1], [0, 1, 1], [0, 0, 0], [1, 2]],
    ImageType=[["ORIGINAL", "P"], ["B0"], "P", []],
    Manufacturer=["GE", None],
)


@pytest.fixture(scope="module")
def fields(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder, values = tmp_path_factory.mktemp("fields"), np.random.default_rng(0).normal(0, 1, SHAPE)
    for n, size in enumerate(UNITS.values()):
        image(folder, f"field{n}.nii", size * values)
    image(folder, "mask.nii", np.ones(SHAPE))
    return folder


def check_field_sidecar(folder: Path, content: dict[str, Any], unit: str, seed: int) -> None:
    n = list(UNITS).index(unit)
    said = written(folder / f"field{n}.json", content, seed)
    try:
        with contextlib.suppress(IR2QSMError):
            inspect_image(folder / f"field{n}.nii")
        loaded = load_inputs(folder / f"field{n}.nii", folder / "mask.nii")
    except IR2QSMError:
        return
    finally:
        (folder / f"field{n}.json").unlink()
    LOADED["field"] = LOADED.get("field", 0) + 1
    stored = nibabel.load(folder / f"field{n}.nii").get_fdata()
    b0, te = as_number(said.get("MagneticFieldStrength")), as_number(said.get("EchoTime"))
    hz = HZ_PER_PPM_AND_TESLA * b0
    factors = {"ppm": 1.0, "ppb": 1e-3, "hz": 1 / hz if hz else 0.0, "hertz": 1 / hz if hz else 0.0}
    if hz:
        factors |= {"rad/s": 1 / hz / (2 * math.pi), "t": 1e6 / b0}
        factors |= dict.fromkeys(("rad", "radians"), 1 / hz / (2 * math.pi) / te if te else 0.0)
    words = said.get("Units")
    factor = factors[words.strip().lower()] if isinstance(words, str) and words.strip() else 1.0
    np.testing.assert_allclose(loaded.local.values, stored * factor, rtol=1e-4, atol=1e-7)
    direction = said.get("B0_dir")
    numbers = [as_number(v) for v in direction] if isinstance(direction, list) else []
    expected = np.array(numbers if len(numbers) == 3 and not np.isnan(numbers).any() else [0.0, 0.0, 1.0])
    np.testing.assert_allclose(loaded.local.grid.b0_direction, expected / np.linalg.norm(expected), atol=1e-6)


# -- sidecars of a scan -----------------------------------------------------------------------------------------------


TIMES = (0.005, 0.012)
SCAN_SIDECARS = several(
    EchoTime=[0.005, 0.012, 5.0, 0.00003, 0.3, [0.005], "0.005"],
    MagneticFieldStrength=[3, 7, 30000, 0, "3"],
    ImagingFrequency=[127.7, 298, 0],
    ImageType=[["P"], ["M"], ["R"], "P", ["B0"], ["SWI", "P"]],
    Units=["rad", "Hz", "arbitrary", ""],
    EchoTime1=[0.005, 0.004],
    EchoTime2=[0.012, 0.004],
    SeriesNumber=[1, 2, "1"],
    AcquisitionTime=["10:00", "11:00"],
    SeriesDescription=["gre", "filt_pha"],
    Manufacturer=["GE", ""],
    NumberOfTemporalPositions=[1, 4],
    VolumeTiming=[[0, 1]],
)


@pytest.fixture(scope="module")
def scan(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("scan")
    for part, values in zip(("phase", "mag"), random_scan(SHAPE, 2), strict=True):
        for n in range(2):
            image(folder, f"sub-1_echo-{n + 1}_part-{part}_MEGRE.nii", values[n])
    return folder


def check_scan_sidecars(folder: Path, content: dict[str, Any], which: int, seed: int) -> None:
    said: dict[str, Any] = {}
    files = sorted(folder.glob("*.nii"))
    for n, file in enumerate(files):
        base = {"EchoTime": TIMES["echo-2" in file.name], "MagneticFieldStrength": 3}
        mine = which >> n & 1
        said[file.name] = written(file.with_suffix(".json"), {**base, **content} if mine else base, seed if mine else 1)
    try:
        with contextlib.suppress(IR2QSMError):
            inspect_image(folder)
        found = find_acquisition(folder)
    except IR2QSMError:
        return
    LOADED["scan"] = LOADED.get("scan", 0) + 1
    stored = {file.name: nibabel.load(file).get_fdata() for file in files}
    headers = [header for header in said.values() if isinstance(header, dict)]
    b0 = [as_number(h.get("MagneticFieldStrength")) for h in headers]
    b0 += [1e-4 * v for v in b0] + [as_number(h.get("ImagingFrequency")) / HZ_PER_PPM_AND_TESLA for h in headers]
    assert any(abs(v - found.b0) <= 1e-3 * found.b0 for v in b0)
    for echo, te in zip(found.echoes, [*found.echo_times] * 2, strict=False):
        name = next(name for name, values in stored.items() if np.allclose(values, echo.read_values()))
        header = said[name]
        times = header.get("EchoTime")
        own = [as_number(times[0] if isinstance(times, list) and len(times) == 1 else times)]
        if echo.kind == "magnitude" and np.isnan(own).all():
            continue  # it belongs to its phase by its place in the order
        pairs = [as_number(h.get("EchoTime2")) - as_number(h.get("EchoTime1")) for h in headers]
        every = [as_number(h.get("EchoTime")) for h in headers]
        differences = [abs(d) for d in (*pairs, *(a - b for a in every for b in every))]
        allowed = [*own, *differences] if "difference" in found.sources["echo_times"] else own
        assert any(abs(t - te) <= 1.1e-5 for t in allowed), (echo.name, te, said)


# -- params.json of a measured field ----------------------------------------------------------------------------------


PARAMETERS = several(
    B0_dir=[[0, 0, 1], [0.1, 0, 0.9], [0, 0, 0], [True, 0, 1], "z"],
    B0=[3, 7.0, -3, 0, "3"],
    TE=[[0.004, 0.010], [0.004], 0.004, "0.004", [], [0.01, 0.004], ["a", "b"], [0.004, None]],
)


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder, values = tmp_path_factory.mktemp("measured"), np.random.default_rng(0).normal(0, 0.02, SHAPE)
    for name in ("localfield.nii.gz", "chimap_truth.nii.gz", "magnitude.nii.gz"):
        image(folder, name, values)
    image(folder, "mask.nii.gz", np.ones(SHAPE))
    return folder


def check_parameters(folder: Path, content: dict[str, Any], seed: int) -> None:
    said = written(folder / "params.json", content, seed)
    try:
        case = MeasuredCase.read(folder)
    except IR2QSMError:
        return
    LOADED["parameters"] = LOADED.get("parameters", 0) + 1
    direction = np.array([as_number(v) for v in said["B0_dir"]])
    np.testing.assert_allclose(case.b0_direction, direction / np.linalg.norm(direction), atol=1e-6)
    if case.medi_inputs:
        times = [as_number(t) for t in said["TE"]]
        assert case.medi_inputs["b0"] == as_number(said["B0"]) > 0
        assert case.medi_inputs["echo_time"] == pytest.approx(times[1] - times[0] if len(times) > 1 else times[0])
        assert case.medi_inputs["echo_time"] > 0


SEEDS = st.integers(0, 2**32)
ONE_OF_ALL = st.integers(1, 15)


@one_time(40)
@given(FIELD_SIDECARS, st.sampled_from(list(UNITS)), SEEDS)
def test_a_field_means_what_its_sidecar_says(fields: Path, content: Any, unit: str, seed: int) -> None:
    check_field_sidecar(fields, content, unit, seed)


@one_time(30)
@given(SCAN_SIDECARS, ONE_OF_ALL, SEEDS)
def test_a_scan_is_what_its_sidecars_say(scan: Path, content: Any, which: int, seed: int) -> None:
    check_scan_sidecars(scan, content, which, seed)


@one_time(20)
@given(PARAMETERS, SEEDS)
def test_a_measured_field_is_what_its_parameters_say(measured: Path, content: Any, seed: int) -> None:
    check_parameters(measured, content, seed)


@pytest.mark.long
@one_time(1200)
@given(FIELD_SIDECARS, st.sampled_from(list(UNITS)), SEEDS)
def test_many_fields_mean_what_their_sidecars_say(fields: Path, content: Any, unit: str, seed: int) -> None:
    check_field_sidecar(fields, content, unit, seed)


@pytest.mark.long
@one_time(1200)
@given(SCAN_SIDECARS, ONE_OF_ALL, SEEDS)
def test_many_scans_are_what_their_sidecars_say(scan: Path, content: Any, which: int, seed: int) -> None:
    check_scan_sidecars(scan, content, which, seed)


@pytest.mark.long
@one_time(600)
@given(PARAMETERS, SEEDS)
def test_many_measured_fields_are_what_their_parameters_say(measured: Path, content: Any, seed: int) -> None:
    check_parameters(measured, content, seed)


@pytest.mark.long
def test_some_of_the_many_could_be_read() -> None:
    assert not LOADED or min(LOADED.values()) > 20, LOADED
