"""What tests of the module's views ask."""

from __future__ import annotations

from typing import Any

import slicer


def view(i: int) -> Any:
    return slicer.app.layoutManager().sliceWidget(f"IR2QSM{i}")


def shown(i: int) -> Any:
    return slicer.mrmlScene.GetNodeByID(view(i).mrmlSliceCompositeNode().GetBackgroundVolumeID() or "")


def window(node: Any) -> tuple[float, float]:
    display = node.GetDisplayNode()
    return round(display.GetWindowLevelMin(), 6), round(display.GetWindowLevelMax(), 6)


def label(i: int) -> str:
    """What the module wrote into the corner of a view."""
    props = view(i).sliceView().renderWindow().GetRenderers().GetFirstRenderer().GetViewProps()
    return "".join(p.GetInput() for p in props if p.GetObjectName() == "IR2QSM name")
