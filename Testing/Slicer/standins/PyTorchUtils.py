"""Stand-in for the PyTorch extension's module: asks for real, installs with the real pip."""

import slicer


class PyTorchUtilsLogic:
    def installTorch(self, askConfirmation=False, forceComputationBackend=None, torchVersionRequirement=None):
        wanted = "torch" + (torchVersionRequirement or "")
        if askConfirmation and not slicer.util.confirmOkCancelDisplay(f"{wanted} will be downloaded and installed."):
            return None
        slicer.packaging.pip_install([wanted])
        return __import__("torch")
