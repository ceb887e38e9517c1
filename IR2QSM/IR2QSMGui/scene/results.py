"""The result of a run into the scene: map, uncertainty and intermediates, all or nothing."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import slicer
from slicer.i18n import tr as _

from IR2QSMGui.parameters import Colours, Window
from IR2QSMGui.scene import display, nodes
from IR2QSMGui.scene.scan import HARMONIC_ESTIMATED


@dataclass(frozen=True)
class Results:
    """The nodes of a run's result."""

    chi: slicer.vtkMRMLScalarVolumeNode
    uncertainty: slicer.vtkMRMLScalarVolumeNode | None
    intermediates: dict[str, slicer.vtkMRMLScalarVolumeNode]
    """By the library's names."""
    cone_index: str
    """A line for the report."""


def intermediate_titles() -> dict[str, str]:
    """Titles of the intermediates, in the order of the processing, by the library's names."""
    return {
        "totalfield": _("total field"),
        "localfield": _("local field"),
        "mask": _("effective mask"),
        "residual": _("residual"),
        "quality": _("quality"),
    }


def in_scene(node: slicer.vtkMRMLNode | None) -> bool:
    """Whether a node is in the present scene."""
    return node is not None and slicer.mrmlScene.GetNodeByID(node.GetID() or "") is node


def bring_in(
    result: dict[str, Any],
    field: slicer.vtkMRMLScalarVolumeNode,
    method: str,
    *,
    outputs: tuple[slicer.vtkMRMLScalarVolumeNode | None, slicer.vtkMRMLScalarVolumeNode | None] = (None, None),
    reference: str = "",
) -> Results:
    """Read all files of a result, then bring them into the scene; on failure nothing of it stays there.

    Parameters
    ----------
    result
        The worker's result event.
    field
        The field of the run, also one that is no longer in the scene.
    method
        Its name.
    outputs
        Volumes that map and uncertainty replace.
    reference
        Name of the region whose mean is zero.
    """
    chi, uncertainty = (
        None if result[name] is None else nodes.read_volume(result[name], field) for name in ("chi", "uncertainty")
    )
    files = result.get("kept", {})
    volumes = {kind: nodes.read_volume(files[kind], field) for kind in intermediate_titles() if kind in files}
    provenance = json.loads(Path(result["provenance"]).read_text(encoding="utf-8"))
    output = outputs[0]
    older = {kind: output.GetNodeReference(f"IR2QSM.{kind}") if output else None for kind in volumes}
    with nodes.all_or_nothing(*outputs, *older.values()):
        map_node, uncertainty_node = _add_maps((chi, uncertainty), field, method, provenance, outputs, reference)
        intermediates = _add_intermediates(map_node, volumes, field, older)
        if "localfield" in volumes:
            sidecar = json.loads(Path(files["localfield"]).with_name("localfield.json").read_text(encoding="utf-8"))
            estimated = "yes" if sidecar["HarmonicPartRecovered"] else None
            intermediates["localfield"].SetAttribute(HARMONIC_ESTIMATED, estimated)
    index = ["–" if value is None else f"{value:.2f}" for value in provenance["ConeIndex"]["index"]]
    cone_index = _("Cone index, coarse to fine: {index}.").format(index=" · ".join(index))
    return Results(map_node, uncertainty_node, intermediates, cone_index)


def _add_maps(volumes: tuple, field: Any, method: str, provenance: dict, outputs: tuple, reference: str) -> tuple:
    title = _("{field} QSM {method}").format(field=field.GetName(), method=method.upper())
    names = (title, _("{map} uncertainty").format(map=title))
    updated = outputs[0] is not None and nodes.is_map(outputs[0])
    kinds = (nodes.CHI, nodes.UNCERTAINTY)
    chi, uncertainty = (
        volume and nodes.add_map(volume, field, provenance, kind=kind, name=name, output=output, reference=reference)
        for volume, kind, name, output in zip(volumes, kinds, names, outputs, strict=True)
    )
    if not updated:  # an updated map keeps its display
        display.show_map(chi, Window.NARROW.value, Colours.GREY, True)
    if uncertainty is not None:
        display.show_uncertainty(uncertainty, Window.NARROW.value)
    chi.SetNodeReferenceID("IR2QSM.uncertainty", uncertainty.GetID() if uncertainty else None)
    chi.SetNodeReferenceID(nodes.FIELD, field.GetID() if in_scene(field) else None)
    return chi, uncertainty


def _add_intermediates(chi: Any, volumes: dict, field: Any, older: dict) -> dict[str, Any]:
    made = {}
    for kind, title in intermediate_titles().items():
        if kind in volumes:
            name = _("{field} {what}").format(field=field.GetName(), what=title)
            node = nodes.add_intermediate(volumes[kind], field, kind, name=name, output=older[kind])
            if older[kind] is None:
                display.show_intermediate(node, kind)
            made[kind] = node
        chi.SetNodeReferenceID(f"IR2QSM.{kind}", made[kind].GetID() if kind in made else None)
    return made
