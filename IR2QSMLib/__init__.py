"""IR²QSM: quantitative susceptibility maps from MRI phase.

The public names are loaded when first used, so that `import IR2QSMLib` costs no import of torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from IR2QSMLib.core.version import __version__

if TYPE_CHECKING:
    from IR2QSMLib.core.errors import IR2QSMError
    from IR2QSMLib.core.grid import Grid
    from IR2QSMLib.core.volumes import LocalField, Susceptibility
    from IR2QSMLib.pipeline.reconstruct import reconstruct
    from IR2QSMLib.pipeline.result import Result

__all__ = ["Grid", "IR2QSMError", "LocalField", "Result", "Susceptibility", "__version__", "reconstruct"]

_HOME = {
    "Grid": "core.grid",
    "IR2QSMError": "core.errors",
    "LocalField": "core.volumes",
    "Result": "pipeline.result",
    "Susceptibility": "core.volumes",
    "reconstruct": "pipeline.reconstruct",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
