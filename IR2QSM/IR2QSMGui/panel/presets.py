"""Presets: settings that are chosen together."""

from __future__ import annotations

from typing import Any

import slicer

from IR2QSMGui.parameters import Parameters, Preset

SETTINGS: dict[Preset, dict[str, Any]] = {
    Preset.BEST: {"methods": "ir2qsm", "automatic": False, "uncertainty": True, "consistency": True, "weights": ""},
    Preset.FAST: {"methods": "tikhonov", "automatic": True, "uncertainty": False},
}
"""The settings of each preset; `Preset.CUSTOM` has none."""


class PresetKeeper:
    """Sets what belongs to a preset that is chosen; other settings make it `Preset.CUSTOM`."""

    def __init__(self) -> None:
        self._parameters: Any = None
        self._preset: Preset | None = None

    def attach(self, parameters: Parameters) -> None:
        """Follow these settings; those of a scene stay as they are."""
        self._parameters, self._preset = parameters, parameters.preset
        self.update()

    def detach(self) -> None:
        """Let the settings go."""
        self._parameters = None

    def update(self) -> None:
        """The settings have changed: apply a preset that was chosen, or see whether they still are the preset's."""
        parameters = self._parameters
        if parameters is None or slicer.mrmlScene.IsImporting():
            return
        wanted = SETTINGS.get(parameters.preset, {})
        if parameters.preset is not self._preset:
            self._preset = parameters.preset
            with slicer.util.NodeModify(parameters):
                for name, value in wanted.items():
                    setattr(parameters, name, value)
        elif any(getattr(parameters, name) != value for name, value in wanted.items()):
            self._preset = parameters.preset = Preset.CUSTOM
