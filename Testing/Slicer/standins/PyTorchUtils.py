"""Stand-in for the PyTorch extension's module: looks and asks for real."""

import slicer


class PyTorchUtilsLogic:
    @staticmethod
    def torchInstalled():
        if not slicer.packaging.pip_check("torch"):
            return False
        import torch  # noqa: F401 - as the real one does

        return True

    @property
    def torch(self):
        import torch

        return torch

    def installTorch(self, askConfirmation=False, forceComputationBackend=None, torchVersionRequirement=None):
        wanted = "torch" + (torchVersionRequirement or "")
        if askConfirmation and not slicer.util.confirmOkCancelDisplay(f"{wanted} will be downloaded and installed."):
            return None
        slicer.packaging.pip_install(wanted)
        return self.torch
