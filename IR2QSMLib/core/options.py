"""Parameters of methods that are also options: declared once, in the method's dataclass."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import Field, dataclass, field, fields
from typing import Any

AUTO = "auto"
"""The value of an option that follows the field."""


def number_or_auto(text: str) -> float | str:
    """A number, or `AUTO`, as typed."""
    return text if text == AUTO else float(text)


@dataclass(frozen=True)
class Option:
    """How a parameter of a method is set on the command line and in the panel."""

    help: str
    """Lower case, without a full stop."""
    parse: Callable[[str], Any] = float
    """Turns the typed text into the value."""
    metavar: str | None = None
    choices: tuple[Any, ...] | None = None
    limits: tuple[float | None, float | None] = (None, None)
    """Lowest and highest number, None for no limit; the method itself refuses an end that it excludes."""
    flag: bool = False
    """Whether it takes no value and switches something on."""
    old_names: tuple[str, ...] = ()
    """Names of the version before, which are still accepted."""


def option(default: Any, help: str, **settings: Any) -> Any:
    """A dataclass field that is also an option.

    Parameters
    ----------
    default
        Of the field.
    help, settings
        Fields of `Option`.
    """
    return field(default=default, metadata={"option": Option(help, **settings)})


def options_of(method: type) -> dict[str, tuple[Option, Any]]:
    """The options of a method's dataclass and their defaults, by parameter."""
    declared: tuple[Field[Any], ...] = fields(method)
    return {f.name: (f.metadata["option"], f.default) for f in declared if "option" in f.metadata}
