"""Volumes and masks to files, and volumes from files into the scene, with geometry, unit and provenance."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import slicer
import vtk
from slicer.i18n import tr as _
from vtk.util import numpy_support

from IR2QSMGui.parameters import InputProblem
from IR2QSMGui.scene import masks

QUANTITY = ("126396", "DCM", "Magnetic Susceptibility")
PPM = ("ppm", "UCUM", "ppm")
KIND = "IR2QSM.Kind"
"""Attribute of a volume that was made here: `CHI`, `UNCERTAINTY`, or the library's name for an intermediate."""
CHI, UNCERTAINTY = "chi", "uncertainty"
OLD_KIND = "IR2QSM.OnTheWay"
"""Attribute of intermediates in scenes of the version before."""
PROVENANCE = "IR2QSM.Provenance"
"""Attribute of a map: its whole sidecar as JSON; the other attributes hold the entries one by one."""
FIELD = "IR2QSM.field"
"""Reference of a map to the field that it was made of; in scenes of the version before it is what tells a map."""


class NodeWatcher:
    """Calls `on_modified` when one of some nodes changes; it keeps no node from being deleted."""

    def __init__(self, on_modified: Callable[..., None]) -> None:
        self._on_modified = on_modified
        self._watched: list[tuple[Any, int]] = []

    def watch(self, nodes: list) -> None:
        """Watch these nodes and no others."""
        for node, tag in self._watched:
            if node not in nodes:
                node.RemoveObserver(tag)
        self._watched = [pair for pair in self._watched if pair[0] in nodes]
        known = [node for node, _tag in self._watched]
        event = vtk.vtkCommand.ModifiedEvent
        self._watched += [(n, n.AddObserver(event, self._on_modified)) for n in nodes if n not in known]


def scalar_volumes() -> list[slicer.vtkMRMLScalarVolumeNode]:
    """All scalar volumes of the scene, without labelmaps and other kinds."""
    volumes = slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode")
    return [node for node in volumes if node.GetClassName() == "vtkMRMLScalarVolumeNode"]


def write_volume(node: slicer.vtkMRMLVolumeNode, path: Path) -> None:
    """Write a volume's voxels and geometry; the node and its storage stay as they are."""
    storage = slicer.vtkMRMLVolumeArchetypeStorageNode()
    storage.SetFileName(str(path))
    storage.SetUseCompression(False)
    if not storage.WriteData(node):
        raise InputProblem(_("'{name}' could not be written for the worker.").format(name=node.GetName()))


def write_mask(node: slicer.vtkMRMLNode, part: str, field: slicer.vtkMRMLScalarVolumeNode, path: Path) -> str:
    """Write the chosen part of a mask on the field's grid; returns a sentence when it was resampled, else nothing."""
    labels, note = masks.mask_on(node, part, field)
    image = vtk.vtkImageData()
    image.SetDimensions(field.GetImageData().GetDimensions())
    image.GetPointData().SetScalars(numpy_support.numpy_to_vtk(labels.ravel(), deep=True))
    volume = slicer.vtkMRMLLabelMapVolumeNode()
    volume.SetAndObserveImageData(image)
    volume.CopyOrientation(field)
    write_volume(volume, path)
    return note


def b0_direction_of(node: slicer.vtkMRMLVolumeNode) -> tuple[float, ...]:
    """B0 in the voxel axes of a volume: Dᵀ·(0, 0, 1); transforms above the volume do not count."""
    matrix = vtk.vtkMatrix4x4()
    node.GetIJKToRASDirectionMatrix(matrix)
    return tuple(matrix.GetElement(2, column) for column in range(3))


def kind_of(node: slicer.vtkMRMLVolumeNode) -> str:
    """What a volume is that was made here: "chi", "uncertainty", "totalfield" and so on; empty for others."""
    kind = node.GetAttribute(KIND) or node.GetAttribute(OLD_KIND) or ""
    return CHI if not kind and node.GetNodeReferenceID(FIELD) is not None else kind


def is_map(node: slicer.vtkMRMLVolumeNode) -> bool:
    """Whether a volume is a χ map that was made here."""
    return kind_of(node) == CHI


def was_made_here(node: slicer.vtkMRMLVolumeNode) -> bool:
    """Whether a volume is a map, an uncertainty or an intermediate that was made here."""
    return any(name.startswith("IR2QSM.") for name in node.GetAttributeNames() or ())


def unit_of(node: slicer.vtkMRMLVolumeNode) -> str | None:
    """The unit of a volume's values that its node names, such as "ppm"."""
    units = node.GetVoxelValueUnits()
    return units.GetCodeValue() if units is not None else None


def read_volume(path: Path | str, field: slicer.vtkMRMLVolumeNode) -> slicer.vtkMRMLScalarVolumeNode:
    """Read a file into a volume outside the scene; raises RuntimeError when its shape is not the field's."""
    storage = slicer.vtkMRMLVolumeArchetypeStorageNode()
    storage.SetFileName(str(path))
    volume = slicer.vtkMRMLScalarVolumeNode()
    if not storage.ReadData(volume) or volume.GetImageData().GetDimensions() != field.GetImageData().GetDimensions():
        raise RuntimeError(_("The map that the worker wrote could not be read; apply again."))
    return volume


def add_map(
    volume: slicer.vtkMRMLScalarVolumeNode,
    field: slicer.vtkMRMLVolumeNode,
    provenance: dict[str, Any],
    *,
    kind: str,
    name: str,
    output: slicer.vtkMRMLScalarVolumeNode | None = None,
    reference: str = "",
) -> slicer.vtkMRMLScalarVolumeNode:
    """Bring a map into the scene with quantity, unit and provenance, on the field's grid.

    Parameters
    ----------
    volume
        The map, outside the scene [ppm].
    field
        Its transform and its place in the subject hierarchy become the map's.
    provenance
        Entries of the sidecar; they become attributes of the node.
    kind
        `CHI` or `UNCERTAINTY`.
    name
        Of a new node.
    output
        A volume to update instead.
    reference
        Name of the region whose mean is zero.

    Returns
    -------
    vtkMRMLScalarVolumeNode
    """
    node = add_volume(volume, field, name=name, output=output)
    with slicer.util.NodeModify(node):
        node.SetVoxelValueQuantity(_coded_entry(*QUANTITY))
        node.SetVoxelValueUnits(_coded_entry(*PPM))
        for key in [k for k in node.GetAttributeNames() or () if k.startswith("IR2QSM.")]:
            node.RemoveAttribute(key)
        for key, value in _flattened(provenance):
            node.SetAttribute(f"IR2QSM.{key}", value)
        node.SetAttribute(PROVENANCE, json.dumps(provenance, ensure_ascii=False))
        node.SetAttribute("IR2QSM.Reference", reference or str(provenance.get("Reference", "")))
        node.SetAttribute(KIND, kind)
    return node


def add_intermediate(
    volume: slicer.vtkMRMLScalarVolumeNode,
    field: slicer.vtkMRMLVolumeNode,
    kind: str,
    *,
    name: str,
    output: slicer.vtkMRMLScalarVolumeNode | None = None,
) -> slicer.vtkMRMLScalarVolumeNode:
    """Bring an intermediate into the scene; `kind` is the library's name for it, the rest is as of `add_map`."""
    node = add_volume(volume, field, name=name, output=output)
    if kind.endswith("field"):
        node.SetVoxelValueUnits(_coded_entry(*PPM))
    node.SetAttribute(KIND, kind)
    return node


def add_volume(
    volume: slicer.vtkMRMLScalarVolumeNode,
    field: slicer.vtkMRMLVolumeNode,
    *,
    name: str,
    output: slicer.vtkMRMLScalarVolumeNode | None = None,
) -> slicer.vtkMRMLScalarVolumeNode:
    """Bring a volume into the scene on the field's grid, beside the field; parameters are as of `add_map`."""
    node = output if output is not None else slicer.vtkMRMLScalarVolumeNode()
    with slicer.util.NodeModify(node):
        node.SetAndObserveImageData(volume.GetImageData())
        node.CopyOrientation(field)
    if output is None:
        node.SetName(slicer.mrmlScene.GenerateUniqueName(name))
        node = slicer.mrmlScene.AddNode(node)
    if node.GetDisplayNode() is None:
        node.CreateDefaultDisplayNodes()
    transform = field.GetTransformNodeID() or ""
    node.SetAndObserveTransformNodeID(transform if slicer.mrmlScene.GetNodeByID(transform) else None)
    _move_beside(node, field)
    return node


@contextmanager
def all_or_nothing(*outputs: slicer.vtkMRMLScalarVolumeNode | None) -> Iterator[None]:
    """Undo what was done to the scene, and to nodes that are updated, when not all of it can be done."""
    before = masks.nodes_in_scene()
    copies = []
    for node in filter(None, outputs):
        copies.append((node, slicer.vtkMRMLScalarVolumeNode()))
        copies[-1][1].CopyContent(node, False)
    try:
        yield
    except BaseException:
        for new_node in masks.nodes_in_scene() - before:
            slicer.mrmlScene.RemoveNode(new_node)
        for node, copy in copies:
            node.CopyContent(copy, False)
        raise


def names_apart(names: Iterable[str]) -> list[str]:
    """Names without the words that all of them begin with."""
    words = [name.split() for name in names]
    while len(words) > 1 and all(len(w) > 1 for w in words) and len({w[0] for w in words}) == 1:
        words = [w[1:] for w in words]
    return [" ".join(w) for w in words]


def _coded_entry(value: str, scheme: str, meaning: str) -> slicer.vtkCodedEntry:
    entry = slicer.vtkCodedEntry()
    entry.SetValueSchemeMeaning(value, scheme, meaning)
    return entry


def _flattened(values: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """A sidecar's entries as dotted names and texts."""
    for key, value in values.items():
        if isinstance(value, dict):
            yield from _flattened(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _move_beside(node: slicer.vtkMRMLVolumeNode, field: slicer.vtkMRMLVolumeNode) -> None:
    """Give a node the field's parent in the subject hierarchy, where the field has one."""
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(slicer.mrmlScene)
    field_item = hierarchy.GetItemByDataNode(field) if hierarchy is not None else 0
    if not field_item:
        return
    item = hierarchy.GetItemByDataNode(node)
    if item:
        hierarchy.SetItemParent(item, hierarchy.GetItemParent(field_item))
    else:
        hierarchy.CreateItem(hierarchy.GetItemParent(field_item), node)
