"""Packages that the library needs and Slicer does not bring: one question, then Slicer's own installer."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import slicer

try:
    import slicer.packaging
except ImportError as error:
    raise ImportError("IR2QSM needs Slicer 5.12 or newer.") from error
from slicer.i18n import tr as _

TORCH = "torch>=2.3"


class DependenciesMissing(RuntimeError):
    """Packages are missing; the message says which, or why they were not installed."""


def requirements(phase: bool = False) -> list:
    """Requirements besides torch: those of a local field, with `phase` also those of phase and total fields."""
    files = ["requirements.txt", *(["requirements-phase.txt"] if phase else [])]
    folder = Path(__file__).resolve().parents[2] / "Resources"
    return [one for name in files for one in slicer.packaging.load_requirements(folder / name)]


def missing(phase: bool = False) -> list[str]:
    """Requirements that are not met; none is imported to find out."""
    return [str(r) for r in (TORCH, *requirements(phase)) if not slicer.packaging.pip_check(r)]


def require(phase: bool = False) -> None:
    """Raise DependenciesMissing, which names them, when packages are missing."""
    names = missing(phase)
    if names:
        raise DependenciesMissing(
            _(
                "{names} must be installed first: press Apply in the module's panel, or call "
                "IR2QSMGui.run.install.install({phase})."
            ).format(names=", ".join(names), phase="phase=True" if phase else "")
        )


def install(phase: bool = False, ask: bool = True, on_begin: Callable[[list[str]], None] | None = None) -> bool:
    """Install missing packages after one question; torch comes through the PyTorch extension, which knows the GPU.

    Parameters
    ----------
    phase
        Also what phase and total fields need.
    ask
        Ask before; the question names packages and sizes.
    on_begin
        Called with the packages' names before they are installed.

    Returns
    -------
    bool
        Whether anything was installed.

    Raises
    ------
    DependenciesMissing
        When the person declines or the installation fails.
    """
    names = missing(phase)
    if not names:
        return False
    size = _("Together they are less than {n} MB.").format(n=35 if phase else 15)
    if TORCH in names:
        size = _(
            "The PyTorch extension chooses the build of torch and adds torchvision: some 250 MB for a processor, "
            "some 3 GB for a graphics card."
        )
    if ask and not slicer.util.confirmOkCancelDisplay(
        _(
            "IR2QSM needs Python packages that Slicer does not bring:\n\n{names}\n\n{size} Packages that Slicer brings "
            "are kept where they will do. Install now?"
        ).format(names="\n".join(f"• {name}" for name in names), size=size),
        _("IR2QSM: install Python packages"),
    ):
        raise DependenciesMissing(_("Nothing was installed, so nothing can be reconstructed yet."))
    if on_begin is not None:
        on_begin(names)
    try:
        if TORCH in names:
            _install_torch()
        slicer.packaging.pip_ensure(requirements(phase), prompt_install=False, requester="IR2QSM")
    except Exception as error:  # pip's, the network's, or that of importing a broken torch: all are one reason
        raise DependenciesMissing(_("The installation failed: {reason}").format(reason=error)) from error
    names = missing(phase)
    if names:
        raise DependenciesMissing(_("The installation ended, but {names} is missing.").format(names=", ".join(names)))
    return True


def _install_torch() -> None:
    try:
        import PyTorchUtils
    except ImportError as error:
        raise RuntimeError(
            _("the extension PyTorch is missing; install it with the Extensions Manager and restart Slicer.")
        ) from error
    name, _sign, version = TORCH.partition(">=")
    wanted = f">={version}"
    if PyTorchUtils.PyTorchUtilsLogic().installTorch(askConfirmation=False, torchVersionRequirement=wanted) is None:
        raise RuntimeError(_("{name} was not installed.").format(name=name))
