"""Every method on the same held-out cases, in one table a case, and what inversion costs."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import Tensor

from IR2QSMLib.core.devices import Device, choose_device
from IR2QSMLib.core.errors import ParameterInvalid
from IR2QSMLib.core.progress import Progress, silent
from IR2QSMLib.core.version import __version__
from IR2QSMLib.core.volumes import LocalField
from IR2QSMLib.evaluation.benchmark_methods import BenchmarkMethod, benchmark_methods, select_families, swept_methods
from IR2QSMLib.evaluation.inference_benchmark import inference_report, tile_report
from IR2QSMLib.evaluation.metrics import xsim
from IR2QSMLib.evaluation.scores import MapScores, case_tables, level_table, score_map
from IR2QSMLib.evaluation.timing import Cost, measure_cost, transform_report
from IR2QSMLib.inversion.learned.load import LoadedNetwork, bundled, load
from IR2QSMLib.inversion.registry import Method
from IR2QSMLib.networks.ir2unet import IR2Unet
from IR2QSMLib.physics.cone import discrepancy_shares
from IR2QSMLib.physics.dipole import simulate_field
from IR2QSMLib.physics.working_grid import WorkingGrid
from IR2QSMLib.simulation.cases import CASES, SimulatedCase, draw_case
from IR2QSMLib.simulation.head import Head

NOISE_LEVELS = {f"held-out brain, {level}": level for level in ("noise-free", "SNR 40", "SNR 10", "SNR 5", "SNR 2")}
"""The cases of one head that differ only in noise, and the headings of their columns."""
MISMATCH_LEVELS = {name: name.rpartition("mismatch ")[2] for name, case in CASES.items() if case.mismatch is not None}
"""Those that differ only in the share of the discrepancy."""
LEVEL_SCORES = (
    ("XSIM", "xsim", 3),
    ("NRMSE %, demeaned", "nrmse_demeaned", 1),
    ("Coherence in the cone", "cone_coherence", 2),
    ("Gain in the cone", "cone_gain", 2),
)
"""Heading, key and digits of the scores that are shown against noise and mismatch."""


def benchmark(
    cases: Sequence[str] | None = None,
    *,
    methods: Sequence[str] | None = None,
    weights: Path | None = None,
    device: str = "auto",
    sweep: bool = False,
    speed: bool = True,
    progress: Progress = silent,
    emit: Callable[[str], None] = print,
) -> None:
    """Score every method on every case and emit one table a case, then speed, memory and tile error.

    Parameters
    ----------
    cases
        Names of the cases; None is all.
    methods
        Names as in the table, before the comma; None is all.
    weights
        Of IR²QSM, in place of the bundled ones.
    device
        "auto", "cpu", "cuda" or "mps".
    sweep
        Whether `swept_methods` are scored too.
    speed
        Whether speed, memory and tile error are measured.
    progress
        Called with the fraction done and the name of the case.
    emit
        Called with every piece of text.

    Raises
    ------
    ParameterInvalid
        For an unknown case or method.
    """
    case_names = list(cases or CASES)
    for name in case_names:
        if name not in CASES:
            raise ParameterInvalid(f"The case is '{name}'; expected one of: {'; '.join(CASES)}.")
    chosen = select_families([*benchmark_methods(weights), *(swept_methods() if sweep else [])], methods)
    used, loaded = choose_device(device), load(weights or bundled())
    emit(heading(used, loaded) + " Best: the best XSIM of its settings against the truth.")
    scores: dict[str, list[MapScores]] = {}
    for i, name in enumerate(case_names):
        progress(i / len(case_names), name)
        case = draw_case(CASES[name])
        grid = case.field.grid
        # The network's own grid, on which nothing is resampled.
        native = grid.voxel_size == (1.0, 1.0, 1.0) and abs(grid.b0_direction[2]) > 0.999
        suitable = [m for m in chosen if not (native and m.name.endswith("resampled"))]
        scores[name] = [score_method(m, case.head, case.field, used.kind) for m in suitable]
        emit(f"\n### {name}\n\n{_case_text(case)}\n\n{case_tables(scores[name])}")
    _emit_levels(scores, emit)
    if speed:
        emit("\n" + transform_report(used.kind))
        emit("\n" + tile_report(weights, used.kind))
        if isinstance(loaded.network, IR2Unet):
            emit("\n" + inference_report(loaded.network.config, weights or bundled(), used.kind))


def score_method(method: BenchmarkMethod, head: Head, field: LocalField, device: str) -> MapScores:
    """Invert a field at every setting of a method and score the map of the highest XSIM.

    Parameters
    ----------
    method
        The method and its candidates.
    head
        The truth.
    field
        Of the head [ppm].
    device
        "cpu", "cuda" or "mps".

    Raises
    ------
    ParameterInvalid
        When the method has no candidates.
    """
    if not method.candidates:
        raise ParameterInvalid(f"The method '{method.name}' has no candidates.")
    maps = []
    for candidate, label in zip(method.candidates, method.labels, strict=True):
        chi, uncertainty, cost = _invert(candidate, head, field, device)
        maps.append((xsim(chi, head.chi, head.mask), label, chi, uncertainty, cost))
    _, label, chi, uncertainty, cost = max(maps, key=lambda scored: scored[0])
    name = f"{method.name} ({label})" if label else method.name
    return score_map(name, chi, uncertainty, head, cost.seconds, cost.peak_bytes)


def heading(device: Device, loaded: LoadedNetwork) -> str:
    """Text above a table: version, commit, device, threads and weights, and what its scores are."""
    return (
        f"ir2qsm {__version__}, commit {_commit()}; {device.name} ({device.kind}), "
        f"{torch.get_num_threads()} threads, torch {torch.__version__}; weights {loaded.name} "
        f"sha256 {loaded.sha256[:16]}\nXSIM: uniform 5³ window. NRMSE: demeaned, raw and detrended."
    )


def _invert(method: Method, head: Head, field: LocalField, device: str) -> tuple[Tensor, Tensor | None, Cost]:
    """χ, its standard error if the method gives one, and what the inversion took."""
    working_grid = WorkingGrid.around(field)
    with measure_cost(device) as cost:
        maps = method(working_grid.to_working_grid(field.to(device)), silent)
        chi = working_grid.to_original_grid(maps.values.cpu())
    uncertainty = None if maps.uncertainty is None else working_grid.to_original_grid(maps.uncertainty.cpu())
    return torch.where(head.mask, chi, 0.0), uncertainty, cost


def _case_text(case: SimulatedCase) -> str:
    """The power SNR of a case, and how much of the field its truth explains, band by band."""
    head = case.head
    values = case.field.values.to(head.chi)
    discrepancy = values - simulate_field(head.chi, head.grid)
    explained = 100.0 * (1.0 - float(discrepancy[head.mask].var() / values[head.mask].var()))
    shares = discrepancy_shares(values, discrepancy, head.mask, head.grid)
    by_k, by_d = (" · ".join(f"{x:.2f}" for x in bands) for bands in (shares.by_frequency, shares.by_direction))
    return (
        f"Power SNR {case.power_snr:.3g}; the truth's field explains {explained:.0f} % of the local field's variance. "
        f"Share of the rest, by |k|: {by_k}; by |D|: {by_d}."
    )


def _emit_levels(scores: dict[str, list[MapScores]], emit: Callable[[str], None]) -> None:
    """Emit tables of scores against noise and against mismatch, where several cases were scored."""
    for axis, known_levels in (("noise", NOISE_LEVELS), ("mismatch", MISMATCH_LEVELS)):
        levels = {name: known_levels[name] for name in scores if name in known_levels}
        if len(levels) > 1:
            for title, key, digits in LEVEL_SCORES:
                emit(f"\n### {title} against {axis}, held-out brain\n\n{level_table(scores, levels, key, digits)}")


def _commit() -> str:
    root = Path(__file__).resolve().parents[2]
    if not (root / ".git").exists():  # an installation may lie inside another repository
        return "unknown"
    try:
        described = subprocess.run(
            ["git", "-C", str(root), "describe", "--always", "--dirty"], capture_output=True, text=True, check=False
        )
    except OSError:
        return "unknown"
    return described.stdout.strip() or "unknown"
