"""Between the scene and files: a volume and a mask out, a map in, with geometry, units and provenance."""

import json
from contextlib import contextmanager

import slicer
import vtk
from slicer.i18n import tr as _
from vtk.util import numpy_support

from IR2QSMGui.parameters import InputProblem
from IR2QSMGui.scene import masks


class Watch:
    """Calls `heard` when one of the nodes that it holds changes; a node that it does not hold can be freed."""

    def __init__(self, heard):
        self._heard, self._held = heard, []

    def hold(self, nodes):
        """Watch these nodes and no others."""
        for node, tag in self._held:
            if node not in nodes:
                node.RemoveObserver(tag)
        held = [pair for pair in self._held if pair[0] in nodes]
        known = [node for node, _tag in held]
        new = [node for node in nodes if node not in known]
        self._held = held + [(node, node.AddObserver(vtk.vtkCommand.ModifiedEvent, self._heard)) for node in new]


QUANTITY = ("126396", "DCM", "Magnetic Susceptibility")
PPM = ("ppm", "UCUM", "ppm")


def write_volume(node, path):
    """Write a volume's voxels and geometry without touching the node or its storage."""
    storage = slicer.vtkMRMLVolumeArchetypeStorageNode()
    storage.SetFileName(str(path))
    storage.SetUseCompression(False)
    if not storage.WriteData(node):
        raise InputProblem(_("'{name}' could not be written for the worker.").format(name=node.GetName()))


def write_mask(node, part, field, path):
    """Write the part of a mask that was chosen, on the field's grid; returns a sentence when it was resampled."""
    labels, note = masks.mask_on(node, part, field)
    image = vtk.vtkImageData()
    image.SetDimensions(field.GetImageData().GetDimensions())
    image.GetPointData().SetScalars(numpy_support.numpy_to_vtk(labels.ravel(), deep=True))
    volume = slicer.vtkMRMLLabelMapVolumeNode()
    volume.SetAndObserveImageData(image)
    volume.CopyOrientation(field)
    write_volume(volume, path)
    return note


def b0_of(node):
    """B0 in the voxel axes of a volume: Dᵀ·(0, 0, 1); a transform above the volume does not turn it."""
    matrix = vtk.vtkMatrix4x4()
    node.GetIJKToRASDirectionMatrix(matrix)
    return tuple(matrix.GetElement(2, column) for column in range(3))


def is_map(node):
    """Whether a volume is a χ map that was made here."""
    return node.GetNodeReferenceID("IR2QSM.field") is not None


def is_made(node):
    """Whether a volume was made here: a map, its uncertainty, or what was on the way to it."""
    return any(name.startswith("IR2QSM.") for name in node.GetAttributeNames() or ())


def read_map(path, field):
    """A volume from a file as a volume that is in no scene, checked against the field's grid."""
    storage = slicer.vtkMRMLVolumeArchetypeStorageNode()
    storage.SetFileName(str(path))
    read = slicer.vtkMRMLScalarVolumeNode()
    if not storage.ReadData(read) or read.GetImageData().GetDimensions() != field.GetImageData().GetDimensions():
        raise RuntimeError(_("The map that the worker wrote could not be read; apply again."))
    return read


def add_map(read, field, provenance, *, name, output=None, reference=""):
    """Bring a map that was read into the scene, on the field's grid and beside it; `output` is updated if given.

    The map's transform and place in the subject hierarchy are the field's. Its quantity, unit and provenance, a
    sidecar's entries, are on the node.
    """
    node = add_volume(read, field, name=name, output=output)
    with slicer.util.NodeModify(node):
        node.SetVoxelValueQuantity(_coded(*QUANTITY))
        node.SetVoxelValueUnits(_coded(*PPM))
        for key in [k for k in node.GetAttributeNames() or () if k.startswith("IR2QSM.")]:
            node.RemoveAttribute(key)
        for key, value in _flat(provenance):
            node.SetAttribute(f"IR2QSM.{key}", value)
        node.SetAttribute("IR2QSM.Reference", reference or str(provenance.get("Reference", "")))
    return node


def add_intermediate(read, field, kind, *, name, output=None):
    """Bring a volume into the scene that was on the way to a map; `kind` is the library's name for it."""
    node = add_volume(read, field, name=name, output=output)
    if kind.endswith("field"):
        node.SetVoxelValueUnits(_coded(*PPM))
    node.SetAttribute("IR2QSM.OnTheWay", kind)
    return node


def add_volume(read, field, *, name, output=None):
    """Bring a volume that was read into the scene, on the field's grid and beside it; `output` is updated if given."""
    node = output if output is not None else slicer.vtkMRMLScalarVolumeNode()
    with slicer.util.NodeModify(node):
        node.SetAndObserveImageData(read.GetImageData())
        node.CopyOrientation(field)
    if output is None:
        node.SetName(slicer.mrmlScene.GenerateUniqueName(name))
        node = slicer.mrmlScene.AddNode(node)
    if node.GetDisplayNode() is None:
        node.CreateDefaultDisplayNodes()
    node.SetAndObserveTransformNodeID(field.GetTransformNodeID())
    _file_beside(node, field)
    return node


@contextmanager
def all_or_nothing(*outputs):
    """Take back what was done to the scene, and to nodes that are updated, when not all of it can be done."""
    before = masks.nodes_of_scene()
    kept = []
    for node in filter(None, outputs):
        kept.append((node, slicer.vtkMRMLScalarVolumeNode()))
        kept[-1][1].CopyContent(node, False)
    try:
        yield
    except BaseException:
        for made in masks.nodes_of_scene() - before:
            slicer.mrmlScene.RemoveNode(made)
        for node, copy in kept:
            node.CopyContent(copy, False)
        raise


def _coded(value, scheme, meaning):
    entry = slicer.vtkCodedEntry()
    entry.SetValueSchemeMeaning(value, scheme, meaning)
    return entry


def _flat(values, prefix=""):
    """A sidecar's entries as dotted names and texts."""
    for key, value in values.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _file_beside(node, field):
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(slicer.mrmlScene)
    if hierarchy is None:
        return
    place = hierarchy.GetItemByDataNode(field)
    if not place:
        return
    item = hierarchy.GetItemByDataNode(node)
    if item:
        hierarchy.SetItemParent(item, hierarchy.GetItemParent(place))
    else:
        hierarchy.CreateItem(hierarchy.GetItemParent(place), node)
