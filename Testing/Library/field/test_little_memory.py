"""Little memory while a phase becomes a map: every step ends in an error that means memory, and in no crash."""

from __future__ import annotations

import math
import os
import resource
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from IR2QSMLib.core.errors import is_out_of_memory
from IR2QSMLib.core.grid import Grid
from IR2QSMLib.core.volumes import LocalField, TotalField
from IR2QSMLib.field.lbv import LaplacianBoundaryValue
from IR2QSMLib.field.mask import largest_component
from IR2QSMLib.field.pdf import ProjectionOntoDipoles
from IR2QSMLib.field.unwrapping import unwrap_by_laplacian, unwrap_in_space
from IR2QSMLib.field.vsharp import VSharp
from IR2QSMLib.inversion.registry import make_method

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="needs fork and resource limits"),
    pytest.mark.filterwarnings("ignore"),  # Python 3.12 warns of fork where there are threads
]
GRID = Grid((56, 60, 52))
X, Y, Z = torch.meshgrid(*(torch.linspace(-1.0, 1.0, n) for n in GRID.shape), indexing="ij")
MASK = X**2 + Y**2 + Z**2 < 0.8
PHASE = torch.remainder(9.0 * X + 7.0 * Y * Z + math.pi, 2.0 * math.pi) - math.pi
TOTAL = TotalField(torch.where(MASK, 0.05 * torch.sin(9.0 * X), 0.0), MASK, GRID, torch.where(MASK, 0.01, 0.0))
STEPS: dict[str, Callable[[], object]] = {
    "unwrapping": lambda: unwrap_in_space(PHASE, MASK),
    "fast unwrapping": lambda: unwrap_by_laplacian(PHASE, GRID),
    "mask": lambda: largest_component(MASK.numpy(), GRID, 3.0),
    "v-sharp": lambda: VSharp()(TOTAL),
    "pdf": lambda: ProjectionOntoDipoles(n_iterations=3)(TOTAL),
    "lbv": lambda: LaplacianBoundaryValue(n_iterations=3)(TOTAL),
    "tkd": lambda: make_method("tkd")(LocalField(TOTAL.values, MASK, GRID), lambda *_: None),
    "tv": lambda: make_method("tv")(LocalField(TOTAL.values, MASK, GRID), lambda *_: None),
}


def run_with(megabytes: int, step: Callable[[], object]) -> int:
    """0 done, 2 out of memory, 1 another error, negative a crash: of a step in a forked process."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            torch.set_num_threads(1)
            used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
            resource.setrlimit(resource.RLIMIT_AS, (used + megabytes * 2**20,) * 2)
            step()
            code = 0
        except BaseException as error:
            code = 2 if is_out_of_memory(error) else 1
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


@pytest.mark.parametrize("name", ["unwrapping", "v-sharp"])
def test_a_step_with_little_memory_is_done_or_says_so(name: str) -> None:
    assert {run_with(megabytes, STEPS[name]) for megabytes in (1, 12)} <= {0, 2}


@pytest.mark.long
@pytest.mark.parametrize("name", STEPS)
def test_a_step_with_any_amount_of_memory_is_done_or_says_so(name: str) -> None:
    STEPS[name]()
    codes = [run_with(megabytes, STEPS[name]) for megabytes in (1, 2, 4, 8, 16, 32, 64, 4096)]
    assert set(codes) <= {0, 2} and codes[-1] == 0, codes
