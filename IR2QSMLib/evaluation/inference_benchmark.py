"""Time, memory and tile error of IR²QSM's inference."""

from __future__ import annotations

import math
import subprocess
import sys
from copy import deepcopy
from pathlib import Path

import torch

from IR2QSMLib.core.devices import half_precision
from IR2QSMLib.core.progress import silent
from IR2QSMLib.evaluation.timing import TIMED_SHAPE, measure_cost
from IR2QSMLib.inversion.learned.load import optimise_for_inference
from IR2QSMLib.inversion.learned.method import Learned
from IR2QSMLib.inversion.learned.tiles import TILES, infer
from IR2QSMLib.io.weights import read_weights, strict_state_dict
from IR2QSMLib.networks.ir2unet import IR2Unet, IR2UnetConfig
from IR2QSMLib.physics.working_grid import WorkingGrid
from IR2QSMLib.report.table import markdown_table
from IR2QSMLib.simulation.cases import CASES, simulate


def tile_report(weights: Path | None, device: str) -> str:
    """A table of the difference between the map of blended tiles and that of one tile, on the first case.

    Parameters
    ----------
    weights
        Of IR²QSM, in place of the bundled ones.
    device
        "cpu", "cuda" or "mps".
    """
    _, field = simulate(next(iter(CASES.values())))
    working_grid = WorkingGrid.around(field)
    working_field = working_grid.to_working_grid(field.to(device))

    def map_inside(tile: int | None) -> torch.Tensor:
        chi = Learned(weights, tile=tile)(working_field, silent).values.cpu()
        return working_grid.to_original_grid(chi)[field.mask]

    untiled = map_inside(None)
    n = len(untiled)
    spread = float(untiled.kthvalue(int(0.99 * n))[0] - untiled.kthvalue(max(1, int(0.01 * n)))[0])
    rows = []
    for tile in (t for t in reversed(TILES) if t < max(working_grid.grid.shape)):
        error = (map_inside(tile) - untiled).abs() / spread
        rows.append([str(tile), f"{100 * float(error.square().mean().sqrt()):.3f}", f"{100 * float(error.max()):.2f}"])
    head = ["tile", "RMS %", "largest %"]
    return f"### Tile error, of the map's 1st to 99th percentile range\n\n{markdown_table(rows, head)}"


def inference_report(config: IR2UnetConfig, weights: Path, device: str) -> str:
    """A table of the time of inference and of a plain float32 pass, and of the memory of inference.

    Each is timed twice, by turns, and the better time counts. Memory is measured in a process of its own.

    Parameters
    ----------
    config
        Of the network.
    weights
        Of that network; a network of the published size has random ones.
    device
        "cpu", "cuda" or "mps".
    """
    voxels, half = "×".join(map(str, TIMED_SHAPE)), "used" if half_precision(device) else "not used"
    rows = []
    for name, size in (("bundled", config), ("published size, random weights", IR2UnetConfig())):
        image = torch.randn(size.n_inputs, *TIMED_SHAPE, generator=torch.Generator().manual_seed(0)) * 0.05
        plain_network = IR2Unet(size).to(device).eval().requires_grad_(False)
        if name == "bundled":
            plain_network.load_state_dict(strict_state_dict(read_weights(weights), plain_network.state_dict()))
        image = image.to(device)
        small_image = image[:, :64, :64, :64]
        fast_network = optimise_for_inference(deepcopy(plain_network))
        with torch.inference_mode():  # what the first pass does once is not timed
            plain_network(small_image[None])
        infer(fast_network, small_image, None, half_precision(device), silent)
        plain_seconds, fast_seconds = math.inf, math.inf
        for _ in range(2):
            with torch.inference_mode(), measure_cost(device) as cost:
                expected = plain_network(image[None]).chi[0, 0]
            plain_seconds = min(plain_seconds, cost.seconds)
            with measure_cost(device) as cost:
                chi = infer(fast_network, image, None, half_precision(device), silent).chi
            fast_seconds = min(fast_seconds, cost.seconds)
        error = float((chi - expected).square().mean().sqrt() / expected.std())
        rows.append(
            [
                name,
                f"{plain_seconds:.2f}",
                f"{fast_seconds:.2f}",
                f"{plain_seconds / fast_seconds:.2f}",
                f"{100 * error:.3f}",
                f"{_peak_of_new_process(size):.0f}",
            ]
        )
    heading = f"### Inference of {voxels} voxels on {device}, bfloat16 {half}\n\n"
    return heading + markdown_table(
        rows, ["network", "plain float32 s", "ours s", "ratio", "difference %", "peak resident MB"]
    )


def _peak_of_new_process(config: IR2UnetConfig) -> float:
    """Peak resident memory [MB] of a process that runs the network once on `TIMED_SHAPE` voxels on the CPU."""
    code = (
        "from IR2QSMLib.evaluation.inference_benchmark import IR2UnetConfig, print_peak_memory\n"
        f"print_peak_memory({config!r}, {TIMED_SHAPE!r})"
    )
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    return float(done.stdout) / 1e3


def print_peak_memory(config: IR2UnetConfig, shape: tuple[int, int, int]) -> None:
    """Run a network once on the CPU and print the peak resident memory of this process [kB]."""
    network = optimise_for_inference(IR2Unet(config).eval().requires_grad_(False))
    infer(network, torch.zeros(config.n_inputs, *shape), None, half_precision("cpu"), silent)
    status = Path("/proc/self/status")
    if status.exists():  # Linux's ru_maxrss is at least that of the process that started this one
        (peak,) = (line.split()[1] for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        print(peak)
    else:
        import resource  # Windows has none

        print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
