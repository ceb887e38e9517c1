"""What is compared, against what, and how methods are written as text."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from IR2QSMLib.core.errors import ParameterInvalid
from IR2QSMLib.inversion.registry import Method, make_method
from IR2QSMLib.pipeline.inputs import REFERENCES
from IR2QSMLib.report.figure import WINDOW, require_window


@dataclass(frozen=True)
class ComparisonOptions:
    """What is compared, and against what; raises ParameterInvalid."""

    methods: Sequence[str] | None = None
    """Each as `parse_methods` takes it; None is all that can run."""
    maps: Mapping[str, Path] = field(default_factory=dict)
    """Maps of other tools [ppm] on the field's grid, by name."""
    truth: Path | None = None
    """The true χ [ppm], to score every map against."""
    labels: Path | None = None
    """Label map whose regions are listed."""
    white_matter: Sequence[int] = ()
    """Labels in which noise is measured; none is the whole mask."""
    reference: str = "mean"
    """Region whose mean χ is zero: "mean", "none", or a label map's path."""
    window: tuple[float, float] = WINDOW
    """Lowest and highest χ of the figure's grey scale [ppm]."""
    device: str = "auto"
    """One of "auto", "cpu", "cuda" and "mps"."""

    def __post_init__(self) -> None:
        require_window(self.window)

    def files(self) -> list[Path]:
        """Every input file that is named."""
        region = None if self.reference in REFERENCES else Path(self.reference)
        return [*self.maps.values(), *(p for p in (self.truth, self.labels, region) if p is not None)]


def parse_methods(texts: Sequence[str]) -> dict[str, Method]:
    """Methods from texts, each a name or a name and its parameters, as `tv,regularisation=auto`; by that text.

    Raises
    ------
    ParameterInvalid
        For an unknown name, parameter or value, or one text twice.
    """
    methods: dict[str, Method] = {}
    for text in texts:
        if text in methods:
            raise ParameterInvalid(f"The method '{text}' was named twice; name each once.")
        methods[text] = _parse_method(text)
    return methods


def _parse_method(text: str) -> Method:
    name, *assignments = text.split(",")
    parameters = {}
    for assignment in assignments:
        key, separator, value = assignment.partition("=")
        if not separator:
            raise ParameterInvalid(f"'{text}' has '{assignment}' after a comma; expected parameter=value.")
        if key in parameters:
            raise ParameterInvalid(f"'{text}' gives {key} twice; give each parameter once.")
        parameters[key] = Path(value) if key == "weights" else _parse_value(value)
    return make_method(name, **parameters)


def _parse_value(text: str) -> float | int | bool | str:
    if text in ("true", "false"):
        return text == "true"
    try:
        return int(text) if re.fullmatch(r"[+-]?\d+", text) else float(text)
    except ValueError:
        return text
