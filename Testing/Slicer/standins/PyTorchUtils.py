"""Stand-in for the PyTorch extension's module: asks for real, installs with the real pip."""

import slicer


class PyTorchUtilsLogic:
    def installTorch(self, askConfirmation=False, forceComputationBackend=None, torchVersionRequirement=None):
        if askConfirmation and not slicer.util.confirmOkCancelDisplay("PyTorch will be downloaded and installed."):
            return None
        slicer.packaging.pip_install(["torch" + (torchVersionRequirement or "")])
        return __import__("torch")
