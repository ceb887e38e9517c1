"""The panel's controls for another computer, shown when it is the device."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import qt
from slicer.i18n import tr as _

from IR2QSMGui.run import server

CONTROLS = (
    "serverAddressLabel",
    "serverAddressEdit",
    "tokenFileLabel",
    "tokenFileButton",
    "certificateLabel",
    "certificateButton",
)


class ServerSection:
    """Shows and keeps how to reach the other computer.

    Parameters
    ----------
    ui
        The panel's widgets.
    on_changed
        Called without arguments when something was entered.
    """

    def __init__(self, ui: Any, on_changed: Callable[[], None]) -> None:
        self._ui, self._on_changed = ui, on_changed
        ui.serverAddressEdit.setText(server.saved().address)
        ui.serverAddressEdit.textChanged.connect(lambda text: self._keep(address=str(text).strip()))
        ui.tokenFileButton.clicked.connect(lambda *_args: self._choose("token_file"))
        ui.certificateButton.clicked.connect(lambda *_args: self._choose("certificate"))
        self._show_names()

    def update(self, device: str) -> None:
        """Show the controls when the device is another computer."""
        for name in CONTROLS:
            getattr(self._ui, name).setVisible(device == server.DEVICE)

    def _choose(self, name: str) -> None:
        """Let a file be chosen; none takes a certificate away."""
        title = _("Token of the other computer") if name == "token_file" else _("Certificate of the other computer")
        path = str(qt.QFileDialog.getOpenFileName(None, title, "", _("All files (*)")) or "")
        if path or name == "certificate":
            self._keep(**{name: path})

    def _keep(self, **changes: str) -> None:
        server.save(replace(server.saved(), **changes))
        self._show_names()
        self._on_changed()

    def _show_names(self) -> None:
        saved = server.saved()
        self._ui.tokenFileButton.setText(Path(saved.token_file).name or _("Choose…"))
        self._ui.certificateButton.setText(Path(saved.certificate).name or _("Choose, if it has one of its own…"))
