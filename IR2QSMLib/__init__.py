"""IR²QSM: quantitative susceptibility maps from MRI phase.

The public names are loaded when first used, so that `import IR2QSMLib` costs no import of torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from IR2QSMLib.errors import IR2QSMError
    from IR2QSMLib.grid import Grid
    from IR2QSMLib.pipeline import reconstruct
    from IR2QSMLib.result import Result
    from IR2QSMLib.volumes import LocalField, Susceptibility

__version__ = "0.1.0"
__all__ = ["Grid", "IR2QSMError", "LocalField", "Result", "Susceptibility", "reconstruct"]

_HOME = {
    "Grid": "grid",
    "IR2QSMError": "errors",
    "LocalField": "volumes",
    "Result": "result",
    "Susceptibility": "volumes",
    "reconstruct": "pipeline",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
