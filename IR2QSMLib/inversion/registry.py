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
"""Every method is a callable on a field [ppm] on its working grid; it returns a map on the same grid."""


@dataclass(frozen=True)
class MethodInfo:
    """A method's dataclass, what it does, where it comes from, and what it takes and returns."""

    method_class: Callable[..., Method]
    """The dataclass; called without arguments it has the method's defaults."""
    description: str
    """One sentence."""
    citation: str
    required_inputs: tuple[str, ...] = ()
    """Inputs without which it refuses to run, by the names of `reconstruct`."""
    volumes: tuple[str, ...] = ()
    """Volumes beside field and mask that it accepts."""
    outputs: tuple[str, ...] = ()
    """Maps that it returns beside χ."""

    @property
    def options(self) -> dict[str, tuple[Option, Any]]:
        """Its options and their defaults, by parameter."""
        method_class: Any = self.method_class
        return options_of(method_class)

    @property
    def unavailable_reason(self) -> str | None:
        """Why the method cannot run with its defaults (no bundled weights), and what to do; None if it can."""
        default = self.method_class()
        return default.unavailable_reason if isinstance(default, Learned) else None


TYPE_NAMES = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "a word",
    Path: "a file",
    type(None): "none",
}
"""Names of the parameters' types in errors."""
METHODS = {
    "ir2qsm": MethodInfo(
        Learned,
        "A U-net run T times with reverse concatenations and a recurrent middle, on the map of a whole-brain network.",
        "Li et al. 2025, Medical Physics, doi 10.1002/mp.17747",
        volumes=("magnitude",),
        outputs=("uncertainty",),
    ),
    "unet": MethodInfo(
        LearnedUnet,
        "A plain U-net of two levels, the baseline that other networks are compared with.",
        "Ronneberger et al. 2015, MICCAI, doi 10.1007/978-3-319-24574-4_28; "
        "Gao et al. 2021, NMR Biomed, doi 10.1002/nbm.4461",
        volumes=("magnitude",),
    ),
    "xqsm": MethodInfo(
        LearnedXqsm,
        "A U-net of octave convolutions, which keep half of their channels at half the resolution.",
        "Gao et al. 2021, NMR Biomed, doi 10.1002/nbm.4461",
        volumes=("magnitude",),
    ),
    "lpcnn": MethodInfo(
        LearnedLpcnn,
        "Unrolled gradient descent on the measured field with a learned proximal step; takes several orientations.",
        "Lai et al. 2020, MICCAI, doi 10.1007/978-3-030-59713-9_13",
        volumes=("magnitude",),
    ),
    "modl-qsm": MethodInfo(
        LearnedModlQsm,
        "Unrolled gradient descent with a learned step on χ and on the part of the field that χ does not explain.",
        "Feng et al. 2021, NeuroImage, doi 10.1016/j.neuroimage.2021.118376",
        volumes=("magnitude",),
        outputs=("unexplained",),
    ),
    "tkd": MethodInfo(
        TruncatedDivision,
        "Division by the dipole kernel in k-space, truncated near its zeros.",
        "Shmueli et al. 2009, Magn Reson Med, doi 10.1002/mrm.22135",
    ),
    "tikhonov": MethodInfo(
        Tikhonov,
        "Least squares with an L2 penalty on the susceptibility, in closed form.",
        "Bilgic et al. 2014, Magn Reson Med, doi 10.1002/mrm.25029",
    ),
    "tv": MethodInfo(
        TotalVariation,
        "Least squares with a total variation penalty, by the alternating direction method of multipliers.",
        "Bilgic et al. 2014, Magn Reson Med, doi 10.1002/mrm.25029; "
        "Milovic et al. 2018, Magn Reson Med, doi 10.1002/mrm.27073",
    ),
    "ilsqr": MethodInfo(
        Ilsqr,
        "Weighted least squares, less the streaks that a fast estimate separates from edges.",
        "Li et al. 2015, NeuroImage, doi 10.1016/j.neuroimage.2014.12.043",
    ),
    "medi": MethodInfo(
        Medi,
        "Total variation away from the magnitude's edges, against the complex signal of the field.",
        "Liu et al. 2012, NeuroImage, doi 10.1016/j.neuroimage.2011.08.082; "
        "Liu et al. 2013, Magn Reson Med, doi 10.1002/mrm.24272",
        ("magnitude", "b0", "echo_time"),
        volumes=("magnitude", "noise", "csf"),
    ),
}


def available_methods() -> list[str]:
    """Names of the methods that run with their defaults: all but the networks without bundled weights."""
    return [name for name, info in METHODS.items() if info.unavailable_reason is None]


def make_method(name: str, **parameters: Any) -> Method:
    """Make a method from its name and parameters.

    Parameters
    ----------
    name : str
        A key of `METHODS`.
    **parameters
        Fields of the method's dataclass, by their names or those of the version before.

    Returns
    -------
    Method
        The method, to be called on a field.

    Raises
    ------
    ParameterInvalid
        For an unknown name or parameter, a wrong type or a value out of range.
    """
    if name not in METHODS:
        raise ParameterInvalid(f"The method is '{name}'; expected one of {', '.join(METHODS)}.", option="method")
    method_class: Any = METHODS[name].method_class
    hints = get_type_hints(method_class)
    types = {f.name: get_args(hints[f.name]) or (hints[f.name],) for f in fields(method_class)}
    new_names = {old: key for key, (option, _) in METHODS[name].options.items() for old in option.old_names}
    parameters = {new_names.get(key, key): value for key, value in parameters.items()}
    for key, value in parameters.items():
        if key not in types:
            raise ParameterInvalid(
                f"The method '{name}' has no parameter '{key}'; expected {', '.join(types)}.", option=key
            )
        if not any(_has_type(value, t) for t in types[key]):
            expected = " or ".join(TYPE_NAMES.get(t, str(t)) for t in types[key])
            raise ParameterInvalid(f"'{key}' of the method '{name}' is {value!r}; expected {expected}.", option=key)
    method: Method = method_class(**parameters)
    return method


def _has_type(value: Any, expected: Any) -> bool:
    if isinstance(value, bool) or expected is bool:  # True is an int to Python, but not a number here
        return isinstance(value, bool) and expected is bool
    return isinstance(value, int | float if expected is float else expected)


def method_provenance(method: Method) -> dict[str, Any]:
    """Name, citation and parameters of a method, without folders; one of the user's own is named by its type."""
    for name, info in METHODS.items():
        if type(method) is info.method_class:
            parameters = {key: getattr(value, "name", value) for key, value in vars(method).items()}
            return {"name": name, "citation": info.citation, "parameters": parameters}
    return {"name": type(method).__name__, "citation": None, "parameters": {}}
