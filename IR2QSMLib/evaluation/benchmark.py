"""Every method on the same held-out cases, in one table, and what the network's inference costs."""

from __future__ import annotations

import math
import subprocess
import sys
from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from IR2QSMLib.core.devices import Device, choose_device, half_precision
from IR2QSMLib.core.errors import ParameterInvalid
from IR2QSMLib.core.progress import Progress, silent
from IR2QSMLib.core.version import __version__
from IR2QSMLib.core.volumes import LocalField
from IR2QSMLib.evaluation.metrics import xsim
from IR2QSMLib.evaluation.scores import MapScores, case_tables, level_table, score_map
from IR2QSMLib.evaluation.timing import SPEED_SHAPE, Cost, measured, transform_report
from IR2QSMLib.inversion.direct import Tikhonov, TruncatedDivision
from IR2QSMLib.inversion.ilsqr import Ilsqr
from IR2QSMLib.inversion.learned.load import LoadedNetwork, bundled, load, prepared
from IR2QSMLib.inversion.learned.method import Learned
from IR2QSMLib.inversion.learned.tiles import TILES, infer
from IR2QSMLib.inversion.medi import Medi
from IR2QSMLib.inversion.registry import METHODS, Method
from IR2QSMLib.inversion.regularisation import AUTO
from IR2QSMLib.inversion.tv import TotalVariation
from IR2QSMLib.io.weights import read_weights, strict_state_dict
from IR2QSMLib.networks.ir2unet import IR2Unet, IR2UnetConfig
from IR2QSMLib.physics.cone import discrepancy_shares
from IR2QSMLib.physics.dipole import simulate_field
from IR2QSMLib.physics.working_grid import WorkingGrid
from IR2QSMLib.report.figure import table
from IR2QSMLib.simulation.cases import CASES, SimulatedCase, draw_case, simulate
from IR2QSMLib.simulation.head import Head

THRESHOLDS = (0.05, 0.08, 0.1, 0.15, 0.2, 0.3, 0.4)
REGULARISATIONS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.03, 0.05, 0.1)
TV_REGULARISATIONS = (1e-5, 2e-5, 5e-5, 1e-4, 2e-4)
MEDI_REGULARISATIONS = (30.0, 100.0, 300.0, 1000.0, 3000.0, 10000.0, 30000.0)
NOISE_LEVELS = {f"held-out brain, {level}": level for level in ("noise-free", "SNR 40", "SNR 10", "SNR 5", "SNR 2")}
"""The cases of one head that differ in noise alone."""
MISMATCH_LEVELS = {name: name.rpartition("mismatch ")[2] for name, case in CASES.items() if case.mismatch is not None}
"""Those that differ in the share of the discrepancy alone."""
LEVEL_SCORES = (
    ("XSIM", "xsim", 3),
    ("NRMSE %, demeaned", "nrmse_demeaned", 1),
    ("Coherence in the cone", "cone_coherence", 2),
    ("Gain in the cone", "cone_gain", 2),
)
OTHER_NETWORKS = ("unet", "xqsm", "lpcnn", "modl-qsm")
"""Methods that are scored where their weights are bundled."""


@dataclass(frozen=True)
class Contender:
    """A method at one or several settings; of several, the one that scores best against the truth is shown."""

    name: str
    settings: tuple[Method, ...]
    labels: tuple[str, ...] = ("",)


def contenders(weights: Path | None = None) -> list[Contender]:
    """Every method at its default, and at its best setting where it has one."""
    learned = Learned(weights)
    return [
        Contender("ir2qsm", (learned,)),
        Contender("ir2qsm, no whole brain", (replace(learned, whole_brain=False),)),
        Contender("ir2qsm, no consistency", (replace(learned, consistency=0.0),)),
        Contender("ir2qsm, resampled", (replace(learned, resampled=True),)),
        *(Contender(name, (METHODS[name].make(),)) for name in OTHER_NETWORKS if not METHODS[name].problem),
        Contender("tkd", (TruncatedDivision(),)),
        Contender("tkd, automatic", (TruncatedDivision(AUTO),)),
        Contender("tkd, best", tuple(TruncatedDivision(t) for t in THRESHOLDS), tuple(map(str, THRESHOLDS))),
        Contender("tikhonov", (Tikhonov(),)),
        Contender("tikhonov, automatic", (Tikhonov(AUTO),)),
        Contender("tikhonov, best", tuple(Tikhonov(s) for s in REGULARISATIONS), tuple(map(str, REGULARISATIONS))),
        Contender("tv", (TotalVariation(),)),
        Contender("tv, automatic", (TotalVariation(AUTO),)),
        Contender("ilsqr", (Ilsqr(),)),
        Contender("medi", (Medi(),)),
        Contender("medi, automatic", (Medi(AUTO),)),
    ]


def swept() -> list[Contender]:
    """The best fixed regularisation of the methods that take minutes for each, against which the automatic one is
    judged."""
    tv, medi = [TotalVariation(s, "free") for s in TV_REGULARISATIONS], [Medi(s) for s in MEDI_REGULARISATIONS]
    return [
        Contender("tv, best", tuple(tv), tuple(f"{s:g}" for s in TV_REGULARISATIONS)),
        Contender("medi, best", tuple(medi), tuple(f"{s:g}" for s in MEDI_REGULARISATIONS)),
    ]


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

    `cases` and `methods` leave the others out; a method is named as in the table, before its comma. `sweep` adds what
    `swept` has. Raises ParameterInvalid for a case or a method that there is not.
    """
    chosen = list(CASES) if not cases else list(cases)
    for name in chosen:
        if name not in CASES:
            raise ParameterInvalid(f"The case is '{name}'; expected one of: {'; '.join(CASES)}.")
    known = list(dict.fromkeys(c.name.partition(",")[0] for c in contenders(weights)))
    for name in methods or ():
        if name not in known:
            raise ParameterInvalid(f"The method is '{name}'; expected one of: {'; '.join(known)}.")
    used, loaded = choose_device(device), load(weights or bundled())
    emit(heading(used, loaded) + " Best: the best XSIM of its settings against the truth.")
    every: dict[str, list[MapScores]] = {}
    for i, name in enumerate(chosen):
        progress(i / len(chosen), name)
        drawn = draw_case(CASES[name])
        head, field = drawn.head, drawn.field
        aligned = field.grid.voxel_size == (1.0, 1.0, 1.0) and abs(field.grid.b0_direction[2]) > 0.999
        chosen_ones = [
            c
            for c in [*contenders(weights), *(swept() if sweep else [])]
            if not (aligned and c.name.endswith("resampled")) and c.name.partition(",")[0] in (methods or known)
        ]
        every[name] = [_judged(c, head, field, used.kind) for c in chosen_ones]
        emit(f"\n### {name}\n\n{_told(drawn)}\n\n{case_tables(every[name])}")
    for what, known_levels in (("noise", NOISE_LEVELS), ("mismatch", MISMATCH_LEVELS)):
        levels = {name: known_levels[name] for name in every if name in known_levels}
        for title, key, digits in LEVEL_SCORES if len(levels) > 1 else ():
            emit(f"\n### {title} against {what}, held-out brain\n\n{level_table(every, levels, key, digits)}")
    if speed:
        emit("\n" + transform_report(used.kind))
        emit("\n" + tile_report(weights, used.kind))
        if isinstance(loaded.network, IR2Unet):
            emit("\n" + "\n".join(speed_report(loaded.network.config, weights or bundled(), used.kind)))


def heading(device: Device, loaded: LoadedNetwork) -> str:
    """What a table was made with: version, commit, device, threads and weights, and what its scores are."""
    return (
        f"ir2qsm {__version__}, commit {_commit()}; {device.name} ({device.kind}), "
        f"{torch.get_num_threads()} threads, torch {torch.__version__}; weights {loaded.name} "
        f"sha256 {loaded.sha256[:16]}\nXSIM: uniform 5³ window. NRMSE: demeaned, raw and detrended."
    )


def _told(drawn: SimulatedCase) -> str:
    """What the case turned out to be: its power SNR, and how much of the field its truth explains, band by band."""
    head = drawn.head
    values = drawn.field.values.to(head.chi)
    rest = values - simulate_field(head.chi, head.grid)
    explained = 100.0 * (1.0 - float(rest[head.mask].var() / values[head.mask].var()))
    shares = discrepancy_shares(values, rest, head.mask, head.grid)
    by_k, by_d = (" · ".join(f"{x:.2f}" for x in bands) for bands in (shares.by_frequency, shares.by_direction))
    return (
        f"Power SNR {drawn.power_snr:.3g}; the truth's field explains {explained:.0f} % of the local field's variance. "
        f"Share of the rest, by |k|: {by_k}; by |D|: {by_d}."
    )


def _judged(contender: Contender, head: Head, field: LocalField, device: str) -> MapScores:
    frame = WorkingGrid.around(field)
    best: tuple[float, torch.Tensor, torch.Tensor | None, Cost, str] | None = None
    for method, label in zip(contender.settings, contender.labels, strict=True):
        with measured(device) as cost:
            found = method(frame.to_working_grid(field.to(device)), silent)
            chi = frame.to_original_grid(found.values.cpu())
        chi = torch.where(head.mask, chi, 0.0)
        sigma = None if found.uncertainty is None else frame.to_original_grid(found.uncertainty.cpu())
        similarity = xsim(chi, head.chi, head.mask)
        if best is None or similarity > best[0]:
            best = (similarity, chi, sigma, cost, label)
    if best is None:
        raise ParameterInvalid(f"The contender '{contender.name}' has no settings.")
    _, chi, sigma, cost, label = best
    name = f"{contender.name} ({label})" if label else contender.name
    return score_map(name, chi, sigma, head, cost.seconds, cost.peak)


def tile_report(weights: Path | None, device: str) -> str:
    """How far the map of blended tiles is from that of the whole volume, by tile size, on the first case."""
    _, field = simulate(next(iter(CASES.values())))
    frame = WorkingGrid.around(field)
    prepared_field = frame.to_working_grid(field.to(device))

    def inside(tile: int | None) -> torch.Tensor:
        return frame.to_original_grid(Learned(weights, tile=tile)(prepared_field, silent).values.cpu())[field.mask]

    whole = inside(None)
    spread = float(whole.kthvalue(int(0.99 * len(whole)))[0] - whole.kthvalue(max(1, int(0.01 * len(whole))))[0])
    rows = []
    for tile in (t for t in reversed(TILES) if t < max(frame.grid.shape)):
        error = (inside(tile) - whole).abs() / spread
        rows.append([str(tile), f"{100 * float(error.square().mean().sqrt()):.3f}", f"{100 * float(error.max()):.2f}"])
    head = ["tile", "RMS %", "largest %"]
    return f"### Tile error, of the map's 1st to 99th percentile range\n\n{table(rows, head)}"


def speed_report(config: IR2UnetConfig, weights: Path, device: str) -> list[str]:
    """Inference of `SPEED_SHAPE` against a plain float32 eager pass, in turn and each the better of two.

    Memory is measured in a process of its own.
    """
    voxels, half = "×".join(map(str, SPEED_SHAPE)), "used" if half_precision(device) else "not used"
    lines = [f"### Inference of {voxels} voxels on {device}, bfloat16 {half}\n"]
    rows = []
    for name, size in (("bundled", config), ("published size, random weights", IR2UnetConfig())):
        image = torch.randn(size.n_inputs, *SPEED_SHAPE, generator=torch.Generator().manual_seed(0)) * 0.05
        plain = IR2Unet(size).to(device).eval().requires_grad_(False)
        if name == "bundled":
            plain.load_state_dict(strict_state_dict(read_weights(weights), plain.state_dict()))
        image = image.to(device)
        warm = image[:, :64, :64, :64]
        fast_network = prepared(deepcopy(plain))
        with torch.inference_mode():
            plain(warm[None])
        infer(fast_network, warm, None, half_precision(device), silent)
        slow, fast = math.inf, math.inf
        for _ in range(2):
            with torch.inference_mode(), measured(device) as cost:
                expected = plain(image[None]).chi[0, 0]
            slow = min(slow, cost.seconds)
            with measured(device) as cost:
                chi = infer(fast_network, image, None, half_precision(device), silent).chi
            fast = min(fast, cost.seconds)
        error = float((chi - expected).square().mean().sqrt() / expected.std())
        rows.append(
            [name, f"{slow:.2f}", f"{fast:.2f}", f"{slow / fast:.2f}", f"{100 * error:.3f}", f"{_resident(size):.0f}"]
        )
    head = ["network", "plain float32 s", "ours s", "ratio", "difference %", "peak resident MB"]
    return [*lines, table(rows, head)]


def _resident(size: IR2UnetConfig) -> float:
    """Peak resident memory [MB] of a process that runs the network once on `SPEED_SHAPE` voxels on the CPU."""
    code = (
        "import os, resource, torch\n"
        "from IR2QSMLib.evaluation.benchmark import IR2Unet, IR2UnetConfig, half_precision, infer, prepared, silent\n"
        f"network = prepared(IR2Unet({size!r}).eval().requires_grad_(False))\n"
        f"image = torch.zeros({(size.n_inputs, *SPEED_SHAPE)})\n"
        "infer(network, image, None, half_precision('cpu'), silent)\n"
        "own = [line.split()[1] for line in open('/proc/self/status') if line.startswith('VmHWM')] "
        "if os.path.exists('/proc/self/status') else [resource.getrusage(resource.RUSAGE_SELF).ru_maxrss]\n"
        "print(own[0])\n"  # Linux's ru_maxrss is at least that of the process that started this one
    )
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    return float(done.stdout) / 1e3


def _commit() -> str:
    root = Path(__file__).resolve().parents[2]
    if not (root / ".git").exists():  # an installation must not tell of a repository it happens to lie in
        return "unknown"
    try:
        found = subprocess.run(
            ["git", "-C", str(root), "describe", "--always", "--dirty"], capture_output=True, text=True, check=False
        )
    except OSError:
        return "unknown"
    return found.stdout.strip() or "unknown"
