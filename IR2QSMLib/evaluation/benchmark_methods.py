"""The methods that the benchmarks score, each at one setting or at the best of several."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from IR2QSMLib.core.errors import ParameterInvalid
from IR2QSMLib.inversion.direct import Tikhonov, TruncatedDivision
from IR2QSMLib.inversion.ilsqr import Ilsqr
from IR2QSMLib.inversion.learned.method import Learned
from IR2QSMLib.inversion.medi import Medi
from IR2QSMLib.inversion.registry import METHODS, Method
from IR2QSMLib.inversion.regularisation.automatic import AUTO
from IR2QSMLib.inversion.tv import TotalVariation

THRESHOLDS = (0.05, 0.08, 0.1, 0.15, 0.2, 0.3, 0.4)
"""Thresholds of TKD among which its best is sought."""
REGULARISATIONS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.03, 0.05, 0.1)
"""The same for λ of Tikhonov."""
TV_REGULARISATIONS = (1e-5, 2e-5, 5e-5, 1e-4, 2e-4)
MEDI_REGULARISATIONS = (30.0, 100.0, 300.0, 1000.0, 3000.0, 10000.0, 30000.0)
OTHER_NETWORKS = ("unet", "xqsm", "lpcnn", "modl-qsm")
"""Methods that are scored where their weights are bundled."""


@dataclass(frozen=True)
class BenchmarkMethod:
    """A method with fixed parameters, or several candidates of which the one of the highest XSIM is shown."""

    name: str
    """The method and, after a comma, what distinguishes it."""
    candidates: tuple[Method, ...]
    """The method once for each choice of its parameters."""
    labels: tuple[str, ...] = ("",)
    """What distinguishes each candidate; the winner's stands in brackets behind the name."""

    @property
    def family(self) -> str:
        """The name before the comma."""
        return self.name.partition(",")[0]


def benchmark_methods(weights: Path | None = None) -> list[BenchmarkMethod]:
    """Every method at its default, its variants, and at its best setting where a sweep is quick.

    Parameters
    ----------
    weights
        Of IR²QSM, in place of the bundled ones.
    """
    learned = Learned(weights)
    return [
        BenchmarkMethod("ir2qsm", (learned,)),
        BenchmarkMethod("ir2qsm, no whole brain", (replace(learned, use_whole_brain_map=False),)),
        BenchmarkMethod("ir2qsm, no consistency", (replace(learned, network_only=True),)),
        BenchmarkMethod("ir2qsm, resampled", (replace(learned, resampled=True),)),
        *(
            BenchmarkMethod(name, (METHODS[name].method_class(),))
            for name in OTHER_NETWORKS
            if METHODS[name].unavailable_reason is None
        ),
        BenchmarkMethod("tkd", (TruncatedDivision(),)),
        BenchmarkMethod("tkd, automatic", (TruncatedDivision(AUTO),)),
        BenchmarkMethod("tkd, best", tuple(TruncatedDivision(t) for t in THRESHOLDS), tuple(map(str, THRESHOLDS))),
        BenchmarkMethod("tikhonov", (Tikhonov(),)),
        BenchmarkMethod("tikhonov, automatic", (Tikhonov(AUTO),)),
        BenchmarkMethod("tikhonov, best", tuple(map(Tikhonov, REGULARISATIONS)), tuple(map(str, REGULARISATIONS))),
        BenchmarkMethod("tv", (TotalVariation(),)),
        BenchmarkMethod("tv, automatic", (TotalVariation(AUTO),)),
        BenchmarkMethod("ilsqr", (Ilsqr(),)),
        BenchmarkMethod("medi", (Medi(),)),
        BenchmarkMethod("medi, automatic", (Medi(AUTO),)),
    ]


def swept_methods() -> list[BenchmarkMethod]:
    """TV and MEDI at the best of several fixed regularisations, each of which takes minutes."""
    tv = tuple(TotalVariation(r, "free") for r in TV_REGULARISATIONS)
    medi = tuple(Medi(r) for r in MEDI_REGULARISATIONS)
    return [
        BenchmarkMethod("tv, best", tv, tuple(f"{r:g}" for r in TV_REGULARISATIONS)),
        BenchmarkMethod("medi, best", medi, tuple(f"{r:g}" for r in MEDI_REGULARISATIONS)),
    ]


def select_families(methods: Sequence[BenchmarkMethod], families: Sequence[str] | None) -> list[BenchmarkMethod]:
    """The methods of some families; None is all.

    Raises
    ------
    ParameterInvalid
        For a family that no method has.
    """
    known = list(dict.fromkeys(m.family for m in methods))
    for name in families or ():
        if name not in known:
            raise ParameterInvalid(f"The method is '{name}'; expected one of: {'; '.join(known)}.")
    return [m for m in methods if m.family in (families or known)]
