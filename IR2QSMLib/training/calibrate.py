"""An uncertainty that keeps its word: fitted on simulated heads of its own, kept in the header of the weights."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from IR2QSMLib.core.devices import choose_device
from IR2QSMLib.core.errors import ParameterInvalid
from IR2QSMLib.core.progress import Progress, part_of, silent
from IR2QSMLib.evaluation.regional_metrics import regions
from IR2QSMLib.inversion.learned.consistency import DataTerm
from IR2QSMLib.inversion.learned.load import load
from IR2QSMLib.inversion.learned.method import Learned
from IR2QSMLib.inversion.learned.uncertainty import FEATURES, Calibration, features, scaled
from IR2QSMLib.io.outputs import Outputs
from IR2QSMLib.io.weights import model_card, read_weights, weights_bytes
from IR2QSMLib.physics.working_grid import WorkingGrid
from IR2QSMLib.report.figure import table
from IR2QSMLib.simulation.cases import Case, SimulatedCase, draw_case

_HEAD = Case(910, 40.0, shape=(96, 118, 96), voxel_size=(1.5, 1.5, 1.5), held_out=True)
_FINE = Case(915, 40.0, shape=(144, 176, 144), held_out=True)
_SHAPED = replace(_HEAD, power_snr=math.inf)
_THICK = replace(_SHAPED, shape=(116, 140, 40), voxel_size=(1.25, 1.25, 3.75))
FITTED = {
    **{f"1.5 mm, SNR {snr:g}": replace(_HEAD, power_snr=snr) for snr in (math.inf, 40.0, 5.0)},
    **{f"1.5 mm, mismatch {share:.0%}": replace(_SHAPED, seed=911, mismatch=share) for share in (0.1, 0.2, 0.3, 0.45)},
    "oblique, SNR 20": replace(_HEAD, seed=912, tilt=30.0, power_snr=20.0),
    "oblique, mismatch 30%": replace(_SHAPED, seed=912, tilt=30.0, mismatch=0.3),
    "thick slices, mismatch 20%": replace(_THICK, seed=913, mismatch=0.2),
    "as measured, SNR 40": replace(_HEAD, seed=914, surroundings=True),
    "1 mm, SNR 40": _FINE,
    "1 mm, mismatch 35%": replace(_FINE, seed=916, power_snr=math.inf, mismatch=0.35),
    "haemorrhage, SNR 40": replace(_HEAD, seed=920, haemorrhage=2.0),
}
CHECKED = {
    **{f"check, SNR {snr:g}": replace(_HEAD, seed=960, power_snr=snr) for snr in (math.inf, 20.0)},
    **{f"check, mismatch {share:.0%}": replace(_SHAPED, seed=961, mismatch=share) for share in (0.15, 0.35)},
    "check, oblique, mismatch 25%": replace(_SHAPED, seed=962, tilt=30.0, mismatch=0.25),
    "check, thick slices, mismatch 30%": replace(_THICK, seed=964, mismatch=0.3),
    "check, haemorrhage, SNR 40": replace(_HEAD, seed=965, haemorrhage=2.0),
}
"""Heads of the held-out construction that the calibration is fitted on, and those that it is then checked on; neither
are the benchmark's. Most have a discrepancy of measured shape, of that share of the field's power. Cases of one head
follow each other, as it is kept while they are drawn."""
SHARES = (0.6827, 0.9545)
"""Of a normal error, within one and two standard errors."""
VEINS = (0.71, 0.965)
"""The same for veins, whose errors differ most from head to head: an uncertainty had better be a little too wide."""
N_VOXELS = 6000
"""Voxels at the most that a region of a case gives."""
SOFT, RIDGE = 0.05, 1e-5
"""Width of the pinball loss's rounded corner, in log σ, and the weight of the squared coefficients."""
EVENLY, STEP = 10.0, 0.15
"""Weight of the coverage of every region of every case, and the width of the step that counts it, in log σ."""


class Sample(NamedTuple):
    """Voxels of one region of one case."""

    case: str
    """Its name."""
    region: str
    features: Tensor
    """(feature, voxel)."""
    error: Tensor
    """|χ − truth| [ppm], both about their mean in the mask: (voxel)."""


def samples_of(
    name: str, drawn: SimulatedCase, method: Learned, generator: torch.Generator, progress: Progress = silent
) -> list[Sample]:
    """What a method knows and how far it is off, in voxels drawn from each region of a case."""
    frame = WorkingGrid.around(drawn.field)
    field = frame.to_working_grid(drawn.field)
    found = method(field, progress)
    head, inside = drawn.head, field.mask
    known = features(found.values, DataTerm.of(field)).cpu()
    difference = (found.values[inside].cpu() - frame.volume_to_working_grid(head.chi)[inside.cpu()]).double()
    error = (difference - difference.mean()).abs().float()
    out = []
    for region, where in regions(head.mask, head.labels, head.veins, head.grid).items():
        chosen = frame.volume_to_working_grid(where)[inside.cpu()].nonzero()[:, 0]
        chosen = chosen[torch.randperm(len(chosen), generator=generator)[:N_VOXELS]]
        if len(chosen):
            out.append(Sample(name, region, known[:, chosen], error[chosen]))
    return out


def fitted(samples: Sequence[Sample]) -> Calibration:
    """The calibration whose errors lie within one and two standard errors as often as normal ones, in every sample.

    Least Σ_k ρ_p(log |e| − log kσ) + `EVENLY` · (c − p)², p the share of normal errors within k = 1 and 2 standard
    errors (in veins a little more, `VEINS`), ρ_p the pinball loss of that quantile (Koenker 1978, doi
    10.2307/1913643), c the share found in a sample: the first makes σ follow the error from voxel to voxel, the second
    sees that no region of any case pays for another.
    Samples count alike, so that veins do as much as all the rest. Raises ParameterInvalid without samples.
    """
    if not samples:
        raise ParameterInvalid("There is nothing to calibrate on; give at least one case.")
    known = torch.cat([s.features for s in samples], 1).double()
    target = torch.cat([s.error for s in samples]).double().clamp_min(1e-9).log()
    sizes = torch.tensor([len(s.error) for s in samples])
    owner = torch.repeat_interleave(torch.arange(len(samples)), sizes)

    def by_sample(x: Tensor) -> Tensor:
        return torch.zeros(len(samples), dtype=x.dtype).index_add(0, owner, x) / sizes

    shares = torch.tensor([VEINS if s.region == "veins" else SHARES for s in samples], dtype=torch.float64)
    low, high = known.amin(1), known.amax(1)
    z = scaled(known, low, high)
    i, j = torch.triu_indices(len(z), len(z))
    terms = z[i] * z[j]  # (term, voxel)
    start = torch.zeros(len(terms), dtype=torch.float64)
    start[0] = by_sample(target).mean()
    beta = start.requires_grad_()
    optimizer = torch.optim.LBFGS([beta], max_iter=300, history_size=30, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        optimizer.zero_grad()
        total = RIDGE * beta[1:].square().sum()
        for k, share in enumerate(shares.T, 1):
            u = target - beta @ terms - math.log(k)
            pinball = share[owner] * u + SOFT * torch.nn.functional.softplus(-u / SOFT)
            uneven = by_sample(torch.sigmoid(-u / STEP)) - share
            total = total + by_sample(pinball).mean() + EVENLY * uneven.square().mean()
        total.backward()
        return total

    optimizer.step(loss)
    matrix = torch.zeros(len(z), len(z), dtype=torch.float64)
    matrix[i, j] = beta.detach()
    return Calibration(FEATURES, tuple(low.tolist()), tuple(high.tolist()), tuple(map(tuple, matrix.tolist())))


def covered(sample: Sample, calibration: Calibration) -> tuple[float, float]:
    """Percent of a sample's errors within one and two standard errors."""
    log_sigma = calibration.log_sigma(sample.features)
    one, two = (100.0 * float((sample.error <= k * log_sigma.exp()).double().mean()) for k in (1, 2))
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
    """Write weights again with a calibration of their uncertainty in the header, and the card beside; return the card.

    The maps that the errors are of are the method's own at its defaults. The header tells the cases and the coverage on
    those that had no part in the fit, which is emitted as a table. Raises WeightsInvalid for weights that do not load.
    """
    loaded, used = load(weights), choose_device(device)
    methods: list[type[Learned]] = [Learned, *Learned.__subclasses__()]
    method = next(m for m in methods if m.kind == loaded.kind)(weights, calibrated=False)
    generator = torch.Generator().manual_seed(0)
    samples: dict[bool, list[Sample]] = {True: [], False: []}
    cases = {**FITTED, **CHECKED}
    for i, (name, case) in enumerate(cases.items()):
        told = part_of(progress, 0.9 * i / len(cases), 0.9 * (i + 1) / len(cases))
        told(0.0, name)
        drawn = draw_case(case)
        drawn = replace(drawn, field=drawn.field.to(used.kind))
        samples[name in FITTED] += samples_of(name, drawn, method, generator, part_of(told, 0.4, 1.0))
    progress(0.9, "calibration")
    calibration = fitted(samples[True])
    rows: list[list[str]] = []
    found: dict[str, dict[str, list[float]]] = {}
    for sample in samples[False]:
        after = covered(sample, calibration)
        found.setdefault(sample.case, {})[sample.region] = [round(x, 1) for x in after]
        rows.append([sample.case, sample.region, *(f"{x:.1f}" for x in after)])
    emit(table(rows, ["case", "region", "within 1 σ %", "2 σ %"]))
    stored = read_weights(weights)
    sets = {"fitted_on": FITTED, "checked_on": CHECKED}
    drawn_from = {name: {k: str(c) for k, c in held.items()} for name, held in sets.items()}
    header = {**stored.header, "calibration": {**calibration.to_dict(), **drawn_from, "coverage": found}}
    half = any(t.dtype == torch.float16 for t in stored.tensors.values())
    content = weights_bytes(stored.tensors, header, half=half)
    card = weights.with_suffix(".json")
    rest = json.loads(card.read_text(encoding="utf-8")) if card.exists() else {}
    rest.update(model_card(content, header))
    outputs.bytes(output, content)
    outputs.json(output.with_suffix(".json"), rest)
    return rest
