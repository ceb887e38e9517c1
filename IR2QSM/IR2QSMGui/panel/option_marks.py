"""The controls of the library's options: named in messages, and marked when an error means them."""

from __future__ import annotations

import re
from typing import Any

from IR2QSMGui.panel.widgets import PROBLEM_STYLE

CONTROLS = {
    "accept_filtered": ("acceptFilteredCheck",),
    "b0": ("b0Label",),
    "b0_direction": ("b0DirectionLabel",),
    "background": ("backgroundLabel",),
    "bipolar": ("bipolarCheck",),
    "network_only": ("consistencyCheck",),
    "device": ("deviceLabel",),
    "echoes": ("echoLabel",),
    "field": ("fieldLabel",),
    "flip_sign": ("flipSignCheck",),
    "input": ("inputLabel",),
    "keep": ("keepCheck",),
    "magnitude": ("magnitudesLabel", "magnitudeLabel"),
    "mask": ("maskLabel",),
    "mask_labels": ("maskPartLabel", "maskLabel"),
    "mask_threshold": ("maskLabel",),
    "phase_range": ("phaseRangeLabel",),
    "reference": ("referenceLabel",),
    "regularisation": ("automaticCheck",),
    "server": ("serverAddressLabel",),
    "server_certificate": ("certificateLabel",),
    "te": ("echoTimesLabel", "echoTimeLabel"),
    "tile": ("tileLabel",),
    "token_file": ("tokenFileLabel",),
    "uncertainty": ("uncertaintyCheck",),
    "units": ("unitLabel",),
    "weights": ("weightsLabel",),
}
"""Labels or check boxes by the names of options in errors; of several, one is shown for each kind of input."""


class OptionMarks:
    """Marks the controls of options in red.

    Parameters
    ----------
    ui
        The panel's widgets.
    """

    def __init__(self, ui: Any) -> None:
        self._ui = ui
        self._marked: list = []

    def mark(self, option: str | None) -> None:
        """Mark the control of an option, and no other; none for None and for what is not on the panel."""
        for widget in self._marked:
            widget.setStyleSheet("")
        self._marked = [getattr(self._ui, name) for name in CONTROLS.get(option or "", ())]
        for widget in self._marked:
            widget.setStyleSheet(PROBLEM_STYLE)

    def name(self, option: str) -> str:
        """The name of an option's control on the panel; empty for what is not on it."""
        widgets = [getattr(self._ui, name) for name in CONTROLS.get(option, ())]
        shown = [widget for widget in widgets if not widget.isHidden()] or widgets
        return re.sub(r"\s*\[.*?\]|:$|&", "", shown[0].property("text")) if shown else ""

    def with_names(self, text: str) -> str:
        """A message of the library with controls' names in place of options: "--flip-sign" is 'Flip the sign'."""

        def control(match: re.Match) -> str:
            name = self.name(match.group(1).replace("-", "_"))
            return f"'{name}'" if name else match.group(0)

        return re.sub(r"--([a-z0-9]+(?:-[a-z0-9]+)*)", control, text)
