"""Calibrated uncertainty: fitted on simulated heads that nothing else uses, stored in the header of the weights."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from IR2QSMLib.core.devices import choose_device
from IR2QSMLib.core.errors import ParameterInvalid
from IR2QSMLib.core.progress import Progress, part_of, silent
from IR2QSMLib.evaluation.regional_metrics import regions
from IR2QSMLib.inversion.learned.data_term import DataTerm
from IR2QSMLib.inversion.learned.load import load
from IR2QSMLib.inversion.learned.method import Learned
from IR2QSMLib.inversion.learned.uncertainty import FEATURES, Calibration, normalise_features, voxel_features
from IR2QSMLib.io.outputs import Outputs
from IR2QSMLib.io.weights import model_card, read_weights, weights_bytes
from IR2QSMLib.physics.working_grid import WorkingGrid
from IR2QSMLib.report.table import markdown_table
from IR2QSMLib.simulation.cases import Case, SimulatedCase, draw_case

_HEAD = Case(910, 40.0, shape=(96, 118, 96), voxel_size=(1.5, 1.5, 1.5), held_out=True)
_HEAD_1MM = Case(915, 40.0, shape=(144, 176, 144), held_out=True)
_NOISE_FREE = replace(_HEAD, power_snr=math.inf)
_THICK_SLICES = replace(_NOISE_FREE, shape=(116, 140, 40), voxel_size=(1.25, 1.25, 3.75))
FIT_CASES = {
    **{f"1.5 mm, SNR {snr:g}": replace(_HEAD, power_snr=snr) for snr in (math.inf, 40.0, 5.0)},
    **{
        f"1.5 mm, mismatch {share:.0%}": replace(_NOISE_FREE, seed=911, mismatch=share)
        for share in (0.1, 0.2, 0.3, 0.45)
    },
    "oblique, SNR 20": replace(_HEAD, seed=912, tilt=30.0, power_snr=20.0),
    "oblique, mismatch 30%": replace(_NOISE_FREE, seed=912, tilt=30.0, mismatch=0.3),
    "thick slices, mismatch 20%": replace(_THICK_SLICES, seed=913, mismatch=0.2),
    "as measured, SNR 40": replace(_HEAD, seed=914, surroundings=True),
    "1 mm, SNR 40": _HEAD_1MM,
    "1 mm, mismatch 35%": replace(_HEAD_1MM, seed=916, power_snr=math.inf, mismatch=0.35),
    "haemorrhage, SNR 40": replace(_HEAD, seed=920, haemorrhage=2.0),
}
"""Heads that the calibration is fitted on, of the held-out construction; none is the benchmark's. A mismatch is a
discrepancy with the spectrum of measured fields, that share of the field's power. Cases of one head follow each other,
as its scan is kept while they are drawn."""
CHECK_CASES = {
    **{f"check, SNR {snr:g}": replace(_HEAD, seed=960, power_snr=snr) for snr in (math.inf, 20.0)},
    **{f"check, mismatch {share:.0%}": replace(_NOISE_FREE, seed=961, mismatch=share) for share in (0.15, 0.35)},
    "check, oblique, mismatch 25%": replace(_NOISE_FREE, seed=962, tilt=30.0, mismatch=0.25),
    "check, thick slices, mismatch 30%": replace(_THICK_SLICES, seed=964, mismatch=0.3),
    "check, haemorrhage, SNR 40": replace(_HEAD, seed=965, haemorrhage=2.0),
}
"""Other heads, that the calibration is then checked on."""
NORMAL_COVERAGE = (0.6827, 0.9545)
"""Share of normal errors within one and two standard errors."""
VEIN_COVERAGE = (0.71, 0.965)
"""The same for veins, whose errors differ most from head to head: rather a little too wide than too narrow."""
MAX_VOXELS = 6000
"""Voxels at most of a region of a case."""
PINBALL_CORNER = 0.05
"""Width of the pinball loss's rounded corner, in log σ."""
RIDGE_WEIGHT = 1e-5
"""Weight of the squared coefficients."""
COVERAGE_WEIGHT = 10.0
"""Weight of the coverage of every region of every case."""
COVERAGE_WIDTH = 0.15
"""Width of the smooth step that counts the errors within the standard error, in log σ."""


@dataclass(frozen=True)
class RegionErrors:
    """Errors of a map in voxels of one region of one case, and the features that they are predicted from."""

    case: str
    region: str
    features: Tensor
    """(feature, voxel)."""
    error: Tensor
    """|χ − truth| [ppm], both about their mean in the mask: (voxel)."""


def errors_by_region(
    name: str, case: SimulatedCase, method: Learned, generator: torch.Generator, progress: Progress = silent
) -> list[RegionErrors]:
    """Errors of a method's map of a case, in voxels drawn from each region.

    Parameters
    ----------
    name : str
        The case's.
    case : SimulatedCase
        Its field is inverted where it lies.
    method : Learned
        The inversion, without calibration.
    generator : Generator
        Draws the voxels, `MAX_VOXELS` at most of a region.
    progress : callable
        Of the inversion.
    """
    working_grid = WorkingGrid.around(case.field)
    field = working_grid.to_working_grid(case.field)
    chi = method(field, progress).values
    head, mask = case.head, field.mask
    all_features = voxel_features(chi, DataTerm.of(field)).cpu()
    truth = working_grid.volume_to_working_grid(head.chi)
    difference = (chi[mask].cpu() - truth[mask.cpu()]).double()
    error = (difference - difference.mean()).abs().float()
    errors = []
    for region, in_region in regions(head.mask, head.labels, head.veins, head.grid).items():
        voxels = working_grid.volume_to_working_grid(in_region)[mask.cpu()].nonzero()[:, 0]
        voxels = voxels[torch.randperm(len(voxels), generator=generator)[:MAX_VOXELS]]
        if len(voxels):
            errors.append(RegionErrors(name, region, all_features[:, voxels], error[voxels]))
    return errors


def fit_calibration(samples: Sequence[RegionErrors]) -> Calibration:
    """The calibration whose errors lie within one and two standard errors as often as normal ones, in every region.

    It minimises Σ_k mean ρ_p(log |e| − log kσ) + w·mean (c − p)² + r·|B|² over k = 1 and 2: p is the share of normal
    errors within k standard errors (in veins a little more, `VEIN_COVERAGE`), ρ_p the pinball loss of that quantile
    and c the share in a region of a case. The first term makes σ follow the error from voxel to voxel, the second
    keeps every region of every case at its share. All regions count alike, however many voxels they have.

    Parameters
    ----------
    samples : sequence of RegionErrors
        One for each region of each case.

    Raises
    ------
    ParameterInvalid
        Without samples.

    References
    ----------
    Koenker and Bassett (1978), Regression quantiles, doi 10.2307/1913643.
    """
    if not samples:
        raise ParameterInvalid("There is nothing to calibrate on; give at least one case.")
    all_features = torch.cat([s.features for s in samples], 1).double()
    log_error = torch.cat([s.error for s in samples]).double().clamp_min(1e-9).log()
    sizes = torch.tensor([len(s.error) for s in samples])
    sample_of_voxel = torch.repeat_interleave(torch.arange(len(samples)), sizes)

    def mean_by_sample(x: Tensor) -> Tensor:
        return torch.zeros(len(samples), dtype=x.dtype).index_add(0, sample_of_voxel, x) / sizes

    wanted = [VEIN_COVERAGE if s.region == "veins" else NORMAL_COVERAGE for s in samples]
    shares = torch.tensor(wanted, dtype=torch.float64)
    low, high = all_features.amin(1), all_features.amax(1)
    z = normalise_features(all_features, low, high)
    i, j = torch.triu_indices(len(z), len(z))
    terms = z[i] * z[j]  # (term, voxel)
    beta = torch.zeros(len(terms), dtype=torch.float64)
    beta[0] = mean_by_sample(log_error).mean()
    beta.requires_grad_()
    optimizer = torch.optim.LBFGS([beta], max_iter=300, history_size=30, line_search_fn="strong_wolfe")

    def objective() -> Tensor:
        optimizer.zero_grad()
        total = RIDGE_WEIGHT * beta[1:].square().sum()
        for k, share in enumerate(shares.T, 1):
            u = log_error - beta @ terms - math.log(k)
            pinball = share[sample_of_voxel] * u + PINBALL_CORNER * torch.nn.functional.softplus(-u / PINBALL_CORNER)
            off = mean_by_sample(torch.sigmoid(-u / COVERAGE_WIDTH)) - share
            total = total + mean_by_sample(pinball).mean() + COVERAGE_WEIGHT * off.square().mean()
        total.backward()
        return total

    optimizer.step(objective)
    matrix = torch.zeros(len(z), len(z), dtype=torch.float64)
    matrix[i, j] = beta.detach()
    return Calibration(FEATURES, tuple(low.tolist()), tuple(high.tolist()), tuple(map(tuple, matrix.tolist())))


def coverage(sample: RegionErrors, calibration: Calibration) -> tuple[float, float]:
    """Percent of a region's errors within one and two standard errors."""
    sigma = calibration.log_sigma(sample.features).exp()
    one, two = (100.0 * float((sample.error <= k * sigma).double().mean()) for k in (1, 2))
    return one, two


def calibrate(
    outputs: Outputs,
    weights: Path,
    output: Path,
    *,
    device: str = "auto",
    progress: Progress = silent,
    emit: Callable[[str], None] = print,
) -> dict[str, Any]:
    """Write weights with a calibration of their uncertainty in the header, and the model card beside.

    The errors are those of the method's final map at its defaults. The header names the cases, and the coverage on
    those that were not fitted, which is also printed as a table.

    Parameters
    ----------
    outputs : Outputs
        Writes the two files.
    weights : Path
        Weights of a learned method, calibrated before or not; their card's other entries are kept.
    output : Path
        The safetensors file to write.
    device : str
        auto, cpu, cuda or mps.
    progress : callable
        Called with a fraction and the name of the case.
    emit : callable
        Prints the table.

    Returns
    -------
    dict
        The model card.

    Raises
    ------
    WeightsInvalid
        For weights that do not load.
    """
    loaded, used = load(weights), choose_device(device)
    methods: list[type[Learned]] = [Learned, *Learned.__subclasses__()]
    method = next(m for m in methods if m.network_name == loaded.network_name)(weights, calibrated=False)
    generator = torch.Generator().manual_seed(0)
    cases = {**FIT_CASES, **CHECK_CASES}
    samples: list[RegionErrors] = []
    for i, (name, case) in enumerate(cases.items()):
        case_progress = part_of(progress, 0.9 * i / len(cases), 0.9 * (i + 1) / len(cases))
        case_progress(0.0, name)
        drawn = draw_case(case)
        drawn = replace(drawn, field=drawn.field.to(used.kind))
        samples += errors_by_region(name, drawn, method, generator, part_of(case_progress, 0.4, 1.0))
    progress(0.9, "calibration")
    calibration = fit_calibration([s for s in samples if s.case in FIT_CASES])
    coverages: dict[str, dict[str, list[float]]] = {}
    for sample in samples:
        if sample.case in CHECK_CASES:
            percents = [round(x, 1) for x in coverage(sample, calibration)]
            coverages.setdefault(sample.case, {})[sample.region] = percents
    rows = [
        [case, region, *(f"{x:.1f}" for x in percents)]
        for case, by_region in coverages.items()
        for region, percents in by_region.items()
    ]
    emit(markdown_table(rows, ["case", "region", "within 1 σ %", "2 σ %"]))
    stored = read_weights(weights)
    header = {
        **stored.header,
        "calibration": {
            **calibration.to_dict(),
            "fitted_on": {name: str(case) for name, case in FIT_CASES.items()},
            "checked_on": {name: str(case) for name, case in CHECK_CASES.items()},
            "coverage": coverages,
        },
    }
    half = any(t.dtype == torch.float16 for t in stored.tensors.values())
    content = weights_bytes(stored.tensors, header, half=half)
    old_card = weights.with_suffix(".json")
    card = json.loads(old_card.read_text(encoding="utf-8")) if old_card.exists() else {}
    card.update(model_card(content, header))
    outputs.bytes(output, content)
    outputs.json(output.with_suffix(".json"), card)
    return dict(card)
