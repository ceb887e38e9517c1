"""What VTK and MRML print as warnings and errors: collected, as none is expected."""

from __future__ import annotations

import vtk


class Messages:
    """Warnings and errors since the last `clear`, in the words of vtkOutputWindow."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        window = vtk.vtkOutputWindow.GetInstance()
        for event in ("WarningEvent", "ErrorEvent"):
            window.AddObserver(event, self._add)

    @vtk.calldata_type(vtk.VTK_STRING)
    def _add(self, _window: vtk.vtkOutputWindow, _event: str, text: str) -> None:
        self.texts.append(text.strip())

    def clear(self) -> None:
        """Forget all."""
        self.texts.clear()
