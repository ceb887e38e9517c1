"""What the library needs and Slicer does not bring: asked for once, installed by Slicer's own means."""

from pathlib import Path

import slicer

try:
    import slicer.packaging
except ImportError as error:
    raise ImportError("IR2QSM needs Slicer 5.12 or newer.") from error
from slicer.i18n import tr as _

TORCH = "torch>=2.3"


class DependenciesMissing(RuntimeError):
    """What is missing and why it was not installed."""


def requirements(phase=False):
    """What the library needs besides torch, and besides for a `phase` or a total field, as files that pip reads too."""
    files = ["requirements.txt", *(["requirements-phase.txt"] if phase else [])]
    folder = Path(__file__).resolve().parents[2] / "Resources"
    return [one for name in files for one in slicer.packaging.load_requirements(folder / name)]


def missing(phase=False):
    """Requirements that are not met, without importing any of them."""
    return [str(r) for r in (TORCH, *requirements(phase)) if not slicer.packaging.pip_check(r)]


def require(phase=False):
    """Raise DependenciesMissing, naming them, unless all is there."""
    lacking = missing(phase)
    if lacking:
        raise DependenciesMissing(
            _(
                "{names} must be installed first: press Apply in the module's panel, or call "
                "IR2QSMGui.run.install.install({phase})."
            ).format(names=", ".join(lacking), phase="phase=True" if phase else "")
        )


def install(phase=False, ask=True, on_begin=None):
    """Install what is missing after one question; returns whether anything was. `on_begin(names)` is told before.

    Raises DependenciesMissing when declined or failed.

    torch comes through the PyTorch extension, which knows the machine's GPU and adds torchvision.
    """
    lacking = missing(phase)
    if not lacking:
        return False
    size = _("Together they are less than {n} MB.").format(n=30 if phase else 5)
    if TORCH in lacking:
        size = _(
            "The PyTorch extension chooses the build of torch and adds torchvision: some 250 MB for a processor, "
            "some 3 GB for a graphics card."
        )
    if ask and not slicer.util.confirmOkCancelDisplay(
        _(
            "IR2QSM needs Python packages that Slicer does not bring:\n\n{names}\n\n{size} Packages that Slicer brings "
            "are kept where they will do. Install now?"
        ).format(names="\n".join(f"• {name}" for name in lacking), size=size),
        _("IR2QSM: install Python packages"),
    ):
        raise DependenciesMissing(_("Nothing was installed, so nothing can be reconstructed yet."))
    if on_begin is not None:
        on_begin(lacking)
    try:
        if TORCH in lacking:
            _install_torch()
        slicer.packaging.pip_ensure(requirements(phase), prompt_install=False, requester="IR2QSM")
    except Exception as error:  # pip's, the network's, or that of importing a broken torch: all are one reason
        raise DependenciesMissing(_("The installation failed: {reason}").format(reason=error)) from error
    lacking = missing(phase)
    if lacking:
        raise DependenciesMissing(_("The installation ended, but {names} is missing.").format(names=", ".join(lacking)))
    return True


def _install_torch():
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
