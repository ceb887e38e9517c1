"""Fixtures that several rooms share: the adjointness check, weights files, a small case and ways to run it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from IR2QSMLib.cli.main import main
from IR2QSMLib.core.grid import Grid
from IR2QSMLib.core.volumes import LocalField
from IR2QSMLib.inversion.learned import whole_brain
from IR2QSMLib.inversion.learned.network_input import CHANNELS, NetworkInput
from IR2QSMLib.io.outputs import Outputs
from IR2QSMLib.io.weights import weights_bytes
from IR2QSMLib.networks.registry import build, make_config
from IR2QSMLib.simulation.cases import Case, simulate

Operator = Callable[[Tensor], Tensor]
MakeWeights = Callable[..., Path]
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def require_adjoint() -> Callable[..., None]:
    """⟨A x, y⟩ = ⟨x, Aᴴ y⟩ for random x and y: the one check that every linear operator of the library passes."""

    def check(
        forward: Operator, adjoint: Operator, domain: tuple[int, ...], codomain: tuple[int, ...] | None = None
    ) -> None:
        generator = torch.Generator().manual_seed(5)
        x = torch.randn(domain, generator=generator)
        y = torch.randn(codomain or domain, generator=generator)
        ax, ay = forward(x).double(), adjoint(y).double()
        assert ax.shape == y.shape
        assert ay.shape == x.shape
        scale = float(ax.norm() * y.norm() + x.norm() * ay.norm())
        assert abs(float((ax * y).sum() - (x * ay).sum())) <= 1e-6 * scale

    return check


@pytest.fixture(scope="session")
def require_stationary() -> Callable[..., None]:
    """‖∇J(x)‖ ≤ tolerance·‖∇J(0)‖: the optimality condition that every smooth least-squares solution meets."""

    def check(gradient: Operator, x: Tensor, tolerance: float) -> None:
        assert float(gradient(x).norm()) <= tolerance * float(gradient(torch.zeros_like(x)).norm())
        assert float(x.norm()) > 0.0

    return check


@pytest.fixture(scope="session")
def require_minimum() -> Callable[..., None]:
    """J(x) < J(x ± step) along x itself and random directions: what every minimum of a convex objective meets."""

    def check(objective: Callable[[Tensor], Tensor], x: Tensor, relative_step: float = 0.02) -> None:
        generator, least = torch.Generator().manual_seed(4), float(objective(x))
        for direction in (x, *(torch.randn(x.shape, generator=generator) for _ in range(4))):
            step = relative_step * x.norm() * direction / direction.norm()
            assert least < float(objective(x + step))
            assert least < float(objective(x - step))

    return check


@pytest.fixture(scope="session")
def make_weights(tmp_path_factory: pytest.TempPathFactory) -> MakeWeights:
    """Write a tiny network as a weights file: random in every layer, or returning its input (`scale=0`)."""
    folder, n_written = tmp_path_factory.mktemp("weights"), 0

    def make(
        network_input: NetworkInput | None = None,
        scale: float = 0.05,
        seed: int = 1,
        kind: str = "ir2unet",
        **config: object,
    ) -> Path:
        nonlocal n_written
        n_written += 1
        network_input = network_input or NetworkInput(CHANNELS if kind == "whole-brain" else ("field", "first_map"))
        sizes = {"n_passes": 2} if kind == "ir2unet" else {}
        network_config = make_config(kind, **{"width": 0.125, "n_inputs": network_input.n_channels, **sizes, **config})
        network, generator = build(network_config), torch.Generator().manual_seed(seed)
        network.initialise(generator)
        state = network.state_dict()
        for tensor in state.values():
            if tensor.ndim == 5 and tensor.shape[-1] > 1:
                tensor *= 0.1  # without their statistics, layers would amplify
            if tensor.is_floating_point():
                tensor += scale * torch.randn(tensor.shape, generator=generator).clamp(-2.0, 2.0)
        header = {"network": kind, "config": asdict(network_config), "reading": asdict(network_input)}
        path = folder / f"w{n_written}.safetensors"
        path.write_bytes(weights_bytes(state, json.loads(json.dumps(header)), half=False))
        return path

    return make


@pytest.fixture
def tiny_whole_brain(make_weights: MakeWeights, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A tiny whole-brain network in place of the bundled one; its weights."""
    path = make_weights(kind="whole-brain")
    monkeypatch.setattr(whole_brain, "bundled", lambda name: path)
    return path


# A small case on an oblique grid of odd sizes and unequal voxels, and the ways to run `ir2qsm` on it.


@dataclass(frozen=True)
class CaseFiles:
    """A simulated case in memory and on disk; the session shares it, so nothing may be written into its folder."""

    local: LocalField
    field: Path
    mask: Path


@dataclass(frozen=True)
class CommandResult:
    """Exit code and both output streams of a command."""

    code: int
    out: str
    err: str

    def events(self) -> list[dict[str, Any]]:
        """The JSON lines of standard output, each of which must be one object in ASCII."""
        assert self.out.isascii()
        return [json.loads(line) for line in self.out.splitlines()]


def _write_volume(path: Path, values: Tensor, grid: Grid) -> Path:
    with Outputs() as outputs:
        outputs.volume(path, values, grid)
    return path


def _contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() if p.is_file() else b"" for p in folder.rglob("*")}


@pytest.fixture(scope="session")
def write_volume() -> Callable[[Path, Tensor, Grid], Path]:
    """Write a volume on its grid and return its path."""
    return _write_volume


@pytest.fixture(scope="session")
def case(tmp_path_factory: pytest.TempPathFactory) -> CaseFiles:
    """A geometric phantom at power SNR 40, its voxels 2.8 × 3 × 3.4 mm and its slices 20° off B0."""
    _, local = simulate(Case(5, 40.0, (35, 42, 33), (2.8, 3.0, 3.4), 20.0, phantom=True))
    folder = tmp_path_factory.mktemp("case")
    field = _write_volume(folder / "field.nii.gz", local.values, local.grid)
    return CaseFiles(local, field, _write_volume(folder / "mask.nii.gz", local.mask, local.grid))


@pytest.fixture
def ir2qsm(capfd: pytest.CaptureFixture[str]) -> Callable[..., CommandResult]:
    """Run the command inside this process."""

    def run(*arguments: object) -> CommandResult:
        capfd.readouterr()
        code = main([str(a) for a in arguments])
        return CommandResult(code, *capfd.readouterr())

    return run


@pytest.fixture
def refused(ir2qsm: Callable[..., CommandResult], case: CaseFiles, tmp_path: Path) -> Callable[..., str]:
    """Run `reconstruct`, require one line of error and no file written, and return that line."""

    def run(*options: object, field: Path | None = None, mask: Path | None = None, output: Path | None = None) -> str:
        before = _contents(tmp_path), _contents(case.field.parent)
        output = output or tmp_path / "chi.nii.gz"
        ran = ir2qsm("reconstruct", field or case.field, mask or case.mask, "-o", output, *options)
        assert (ran.code, ran.out) == (2, "")
        assert ran.err.startswith("ir2qsm: ") and ran.err.endswith(".\n") and ran.err.count("\n") == 1
        assert str(tmp_path) not in ran.err
        assert (_contents(tmp_path), _contents(case.field.parent)) == before
        return ran.err.removeprefix("ir2qsm: ").strip()

    return run


@pytest.fixture(scope="session")
def worker() -> Callable[..., subprocess.Popen[str]]:
    """Start the command in a process of its own, as Slicer does."""

    def start(*arguments: object) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "IR2QSMLib", *map(str, arguments)]
        return subprocess.Popen(
            command,
            cwd=ROOT,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            # A test run in the background of a shell ignores Ctrl-C, and hands that on.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
            env={**os.environ, "OMP_NUM_THREADS": "1"},  # slow enough to be cancelled, everywhere
        )

    return start
