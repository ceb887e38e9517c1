"""The other computer that reconstructs: kept in Slicer's settings, so that it enters no scene."""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass

import slicer
from slicer.i18n import tr as _

DEVICE = "server"
"""What settings of a run name as device in place of one of this computer."""
KEY = "IR2QSM/server"
"""Under which the settings are kept."""


@dataclass(frozen=True)
class Server:
    """How to reach `ir2qsm serve` on another computer."""

    address: str = ""
    token_file: str = ""
    """The file with the server's token, which itself is kept nowhere else."""
    certificate: str = ""
    """The server's certificate, where no authority vouches for it."""

    def problem(self) -> str:
        """Why it cannot be used; empty when it can."""
        if not self.address:
            return _("Enter the address of the other computer under Advanced, such as https://name:8765.")
        if not self.address.startswith(("https://", "http://")):
            return _("The address of the other computer begins with https://, or with http:// for this computer.")
        if not self.token_file:
            return _("Choose the file with the other computer's token under Advanced.")
        for path in (self.token_file, self.certificate):
            if path and not os.path.isfile(path):
                return _("The file '{name}' is not there any more; choose it again.").format(
                    name=os.path.basename(path)
                )
        return ""

    def arguments(self) -> list[str]:
        """The options of `ir2qsm reconstruct`."""
        certificate = ["--server-certificate", self.certificate] if self.certificate else []
        return ["--server", self.address, "--token-file", self.token_file, *certificate]


def saved() -> Server:
    """The computer that the settings name."""
    settings = slicer.app.userSettings()
    return Server(**{name: str(settings.value(f"{KEY}/{name}", "") or "") for name in asdict(Server())})


def save(server: Server) -> None:
    """Keep it in the settings."""
    settings = slicer.app.userSettings()
    for name, value in asdict(server).items():
        settings.setValue(f"{KEY}/{name}", value)
