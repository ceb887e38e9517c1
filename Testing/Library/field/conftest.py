"""Fixtures of the field's tests: the MEDI toolbox's phantoms, simulated echoes and simple shapes."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import nibabel
import numpy as np
import pytest
import torch
from torch import Tensor

from IR2QSMLib.core.grid import Grid
from IR2QSMLib.core.units import hz_per_ppm
from IR2QSMLib.core.volumes import Phase

B0 = 3.0


def positions(grid: Grid) -> Tensor:
    """Position [mm] of every voxel from the grid's centre: (3, x, y, z)."""
    axes = [(torch.arange(n) - (n - 1) / 2) * v for n, v in zip(grid.shape, grid.voxel_size, strict=True)]
    return torch.stack(torch.meshgrid(*axes, indexing="ij"))


def ball(grid: Grid, radius: float) -> Tensor:
    """The voxels of a centred ball, radius in mm."""
    return positions(grid).norm(dim=0) < radius


def dipole_field(grid: Grid, centre: tuple[float, float, float], moment: float) -> Tensor:
    """moment·(3cos²θ − 1)/r³, the field outside a sphere about `centre` [mm]."""
    offset_mm = positions(grid) - torch.tensor(centre).view(3, 1, 1, 1)
    r = offset_mm.norm(dim=0)
    cosine = (offset_mm * torch.tensor(grid.b0_direction).view(3, 1, 1, 1)).sum(0) / r
    return moment * (3.0 * cosine**2 - 1.0) / r**3


def phase_of_field(field: Tensor, te: float, b0: float = B0) -> Tensor:
    """Phase [rad] of a field [ppm] at an echo time [s]."""
    return 2.0 * math.pi * hz_per_ppm(b0) * te * field


def simulate_echoes(
    field: Tensor,
    grid: Grid,
    echo_times: tuple[float, ...],
    *,
    offset: Tensor | float = 0.0,
    magnitude: Tensor | float = 1.0,
    noise: float = 0.0,
    mask: Tensor | None = None,
    seed: int = 0,
) -> Phase:
    """Wrapped, noisy echoes of a field [ppm]; `noise` is the standard deviation of the real and imaginary parts."""
    generator = torch.Generator().manual_seed(seed)
    echoes = []
    for te in echo_times:
        angle = phase_of_field(field, te) + offset
        size = torch.as_tensor(magnitude).expand(grid.shape) * math.exp(-20.0 * te)
        noise_parts = noise * torch.randn(2, *grid.shape, generator=generator)
        echoes.append(torch.complex(size * angle.cos() + noise_parts[0], size * angle.sin() + noise_parts[1]))
    signal = torch.stack(echoes)
    return Phase(signal.angle(), signal.abs(), echo_times, B0, grid, mask)


@dataclass(frozen=True)
class Toolbox:
    """A phantom of the reference data with the MEDI toolbox's results, in its units."""

    echoes: dict[str, np.ndarray]
    results: dict[str, np.ndarray]

    @property
    def mask(self) -> Tensor:
        return torch.from_numpy(self.results["mask"] > 0)

    @property
    def grid(self) -> Grid:
        x, y, z = (float(v) for v in self.results["voxel_size_mm"])
        nx, ny, nz = self.mask.shape
        b = tuple(float(v) for v in self.results["b0_direction"])
        return Grid((nx, ny, nz), (x, y, z), user_b0_direction=(b[0], b[1], b[2]))

    @property
    def b0(self) -> float:
        """Field strength [T] that makes 1 ppm as many Hz as the toolbox's centre frequency does."""
        return float(self.results["center_frequency_hz"]) * 1e-6 / hz_per_ppm(1.0)

    @property
    def phase(self) -> Phase:
        signal = torch.from_numpy(self.echoes["signal"]).permute(3, 0, 1, 2)
        times = tuple(float(te) for te in self.echoes["echo_times_s"])
        return Phase(signal.angle(), signal.abs(), times, self.b0, self.grid, self.mask)

    def result(self, name: str) -> Tensor:
        return torch.from_numpy(self.echoes[name] if name in self.echoes else self.results[name])


@pytest.fixture(scope="session", params=["iso", "aniso_oblique"])
def toolbox(request: pytest.FixtureRequest, reference_data: Path) -> Toolbox:
    name = request.param
    with (
        np.load(reference_data / f"multi_echo_{name}.npz") as a,
        np.load(reference_data / f"medi_toolbox_{name}.npz") as b,
    ):
        return Toolbox(dict(a), dict(b))


# In pytest's importlib mode a test cannot import its conftest, so helpers are fixtures.


@pytest.fixture(scope="session", name="simulate_echoes")
def simulate_echoes_fixture() -> Callable[..., Phase]:
    return simulate_echoes


@pytest.fixture(scope="session", name="phase_of_field")
def phase_of_field_fixture() -> Callable[..., Tensor]:
    return phase_of_field


@pytest.fixture(scope="session", name="ball")
def ball_fixture() -> Callable[..., Tensor]:
    return ball


@pytest.fixture(scope="session", name="positions")
def positions_fixture() -> Callable[..., Tensor]:
    return positions


@pytest.fixture(scope="session", name="dipole_field")
def dipole_field_fixture() -> Callable[..., Tensor]:
    return dipole_field


@pytest.fixture(scope="session")
def read_echoes(reference_data: Path) -> Callable[[str], tuple[Tensor, Grid]]:
    """An image of the reference data's multi-echo folder, its echoes first: (echo, x, y, z)."""

    def read(name: str) -> tuple[Tensor, Grid]:
        # Not SimpleITK, which reads NaN as 0.
        image = nibabel.load(reference_data / "gre_small" / name)
        values = torch.from_numpy(image.get_fdata(dtype=np.float32))
        echoes = (values[..., None] if values.ndim == 3 else values).permute(3, 0, 1, 2).contiguous()
        nx, ny, nz = (int(n) for n in echoes.shape[1:])
        x, y, z = (float(v) for v in image.header.get_zooms()[:3])
        return echoes, Grid((nx, ny, nz), (x, y, z))

    return read
