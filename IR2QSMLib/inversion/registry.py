"""The methods by name, for the command line, the panel, the benchmark and the provenance."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, get_args, get_type_hints

from IR2QSMLib.core.errors import ParameterInvalid
from IR2QSMLib.core.options import Option, options_of
from IR2QSMLib.core.progress import Progress
from IR2QSMLib.core.volumes import LocalField, Susceptibility
from IR2QSMLib.inversion.direct import Tikhonov, TruncatedDivision
from IR2QSMLib.inversion.ilsqr import Ilsqr
from IR2QSMLib.inversion.learned.method import Learned, LearnedLpcnn, LearnedModlQsm, LearnedUnet, LearnedXqsm
from IR2QSMLib.inversion.medi import Medi
from IR2QSMLib.inversion.tv import TotalVariation

Method = Callable[[LocalField, Progress], Susceptibility]
"""What every method is: a prepared field [ppm] in, a map on its grid out."""


@dataclass(frozen=True)
class Entry:
    """What a method is called and where it comes from."""

    make: Callable[..., Method]
    """Its dataclass; called without arguments it has the method's defaults."""
    sentence: str
    citation: str
    needs: tuple[str, ...] = ()
    """What it refuses to do without, by the names that `reconstruct` has for it."""
    volumes: tuple[str, ...] = ()
    """Volumes beside field and mask that it accepts."""
    outputs: tuple[str, ...] = ()
    """Maps that it gives beside χ."""

    @property
    def options(self) -> dict[str, tuple[Option, Any]]:
        """Its options and their defaults, by parameter."""
        made: Any = self.make
        return options_of(made)

    @property
    def problem(self) -> str | None:
        """Why the method cannot run as it comes (a network without bundled weights), and what to do; None if it can."""
        made = self.make()
        return made.problem if isinstance(made, Learned) else None


WORDS = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "a word",
    Path: "a file",
    type(None): "none",
}
"""What parameters are called in errors, by their types."""
METHODS = {
    "ir2qsm": Entry(
        Learned,
        "A U-net run T times with reverse concatenations and a recurrent middle, on the map of a whole-brain network.",
        "Li et al. 2025, Medical Physics, doi 10.1002/mp.17747",
        volumes=("magnitude",),
        outputs=("uncertainty",),
    ),
    "unet": Entry(
        LearnedUnet,
        "A plain U-net of two levels, the baseline that other networks are compared with.",
        "Ronneberger et al. 2015, MICCAI, doi 10.1007/978-3-319-24574-4_28; "
        "Gao et al. 2021, NMR Biomed, doi 10.1002/nbm.4461",
        volumes=("magnitude",),
    ),
    "xqsm": Entry(
        LearnedXqsm,
        "A U-net of octave convolutions, which keep half of their channels at half the resolution.",
        "Gao et al. 2021, NMR Biomed, doi 10.1002/nbm.4461",
        volumes=("magnitude",),
    ),
    "lpcnn": Entry(
        LearnedLpcnn,
        "Unrolled gradient descent on the measured field with a learned proximal step; takes several orientations.",
        "Lai et al. 2020, MICCAI, doi 10.1007/978-3-030-59713-9_13",
        volumes=("magnitude",),
    ),
    "modl-qsm": Entry(
        LearnedModlQsm,
        "Unrolled gradient descent with a learned step on χ and on the part of the field that χ does not explain.",
        "Feng et al. 2021, NeuroImage, doi 10.1016/j.neuroimage.2021.118376",
        volumes=("magnitude",),
        outputs=("unexplained",),
    ),
    "tkd": Entry(
        TruncatedDivision,
        "Division by the dipole kernel in k-space, truncated near its zeros.",
        "Shmueli et al. 2009, Magn Reson Med, doi 10.1002/mrm.22135",
    ),
    "tikhonov": Entry(
        Tikhonov,
        "Least squares with an L2 penalty on the susceptibility, in closed form.",
        "Bilgic et al. 2014, Magn Reson Med, doi 10.1002/mrm.25029",
    ),
    "tv": Entry(
        TotalVariation,
        "Least squares with a total variation penalty, by the alternating direction method of multipliers.",
        "Bilgic et al. 2014, Magn Reson Med, doi 10.1002/mrm.25029; "
        "Milovic et al. 2018, Magn Reson Med, doi 10.1002/mrm.27073",
    ),
    "ilsqr": Entry(
        Ilsqr,
        "Weighted least squares, less the streaks that a fast estimate tells apart from edges.",
        "Li et al. 2015, NeuroImage, doi 10.1016/j.neuroimage.2014.12.043",
    ),
    "medi": Entry(
        Medi,
        "Total variation away from the magnitude's edges, against the complex signal of the field.",
        "Liu et al. 2012, NeuroImage, doi 10.1016/j.neuroimage.2011.08.082; "
        "Liu et al. 2013, Magn Reson Med, doi 10.1002/mrm.24272",
        ("magnitude", "b0", "echo_time"),
        volumes=("magnitude", "noise", "csf"),
    ),
}


def offered() -> list[str]:
    """Names of the methods that run as they come: without the networks whose weights are not bundled."""
    return [name for name, entry in METHODS.items() if entry.problem is None]


def method(name: str, **parameters: Any) -> Method:
    """The method of that name with the given parameters of its dataclass.

    Raises ParameterInvalid for a name or parameter that there is not, or a value out of range.
    """
    if name not in METHODS:
        raise ParameterInvalid(f"The method is '{name}'; expected one of {', '.join(METHODS)}.")
    made: Any = METHODS[name].make
    known = get_type_hints(made)
    hints = {f.name: known[f.name] for f in fields(made)}
    renamed = {old: key for key, (o, _) in METHODS[name].options.items() for old in o.old_names}
    parameters = {renamed.get(key, key): value for key, value in parameters.items()}
    for key, value in parameters.items():
        if key not in hints:
            raise ParameterInvalid(
                f"The method '{name}' does not take what was given ('{key}'); expected {', '.join(hints)}."
            )
        if not any(_is(value, kind) for kind in get_args(hints[key]) or (hints[key],)):
            kinds = " or ".join(WORDS.get(kind, str(kind)) for kind in get_args(hints[key]) or (hints[key],))
            raise ParameterInvalid(f"'{key}' of the method '{name}' is {value!r}; expected {kinds}.")
    found: Method = made(**parameters)
    return found


def _is(value: Any, kind: Any) -> bool:
    if isinstance(value, bool) or kind is bool:  # True is an int to Python, and no number here
        return isinstance(value, bool) and kind is bool
    return isinstance(value, int | float if kind is float else kind)


def describe(chosen: Method) -> dict[str, Any]:
    """Name, citation and parameters of a method, for the provenance."""
    for name, entry in METHODS.items():
        if type(chosen) is entry.make:
            parameters = {k: getattr(v, "name", v) for k, v in vars(chosen).items()}
            return {"name": name, "citation": entry.citation, "parameters": parameters}
    return {"name": type(chosen).__name__, "citation": None, "parameters": {}}
