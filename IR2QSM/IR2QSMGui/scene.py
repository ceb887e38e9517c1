"""Between the scene and files: a volume and a mask out, a map in, with geometry, units and provenance."""

import json
from pathlib import Path

import numpy as np
import slicer
import vtk
from slicer.i18n import tr as _
from vtk.util import numpy_support

from IR2QSMGui.parameters import InputProblem

QUANTITY = ("126396", "DCM", "Magnetic Susceptibility")
PPM = ("ppm", "UCUM", "ppm")
N_LABELS = 64
"""More different values than these are not labels."""
TENTH = 0.1
"""Voxels by which corners of one grid may differ; the library's own rule."""


def write_volume(node, path):
    """Write a volume's voxels and geometry without touching the node or its storage."""
    storage = slicer.vtkMRMLVolumeArchetypeStorageNode()
    storage.SetFileName(str(path))
    storage.SetUseCompression(False)
    if not storage.WriteData(node):
        raise InputProblem(_("'{name}' could not be written for the worker.").format(name=node.GetName()))


def write_mask(node, part, field, path):
    """Write the part of a mask that was chosen, on the field's grid; returns a sentence when it was resampled."""
    labels, note = mask_on(node, part, field)
    image = vtk.vtkImageData()
    image.SetDimensions(field.GetImageData().GetDimensions())
    image.GetPointData().SetScalars(numpy_support.numpy_to_vtk(labels.ravel(), deep=True))
    volume = slicer.vtkMRMLLabelMapVolumeNode()
    volume.SetAndObserveImageData(image)
    volume.CopyOrientation(field)
    write_volume(volume, path)
    return note


def mask_on(node, part, field):
    """The chosen part of a mask on the field's grid, (z, y, x) of 0 and 1, and what was done to bring it there."""
    if node.IsA("vtkMRMLSegmentationNode"):
        return _segments(node, part, field), ""
    if same_grid(node, field):
        values, note = slicer.util.arrayFromVolume(node), ""
    else:
        values = _resampled(node, field)
        note = _("The mask '{name}' lies on another grid and was resampled to the field's.").format(name=node.GetName())
    chosen = values == int(part) if part else values != 0
    return np.ascontiguousarray(chosen, dtype=np.uint8), note


def parts_of(node):
    """What can be chosen of a mask: pairs of an identifier and a name, all of it first; empty when it holds nothing."""
    if node is None:
        return []
    if node.IsA("vtkMRMLSegmentationNode"):
        segmentation = node.GetSegmentation()
        found = [segmentation.GetNthSegmentID(i) for i in range(segmentation.GetNumberOfSegments())]
        every = [("", _("All segments"))] if found else []
        return every + [(i, segmentation.GetSegment(i).GetName()) for i in found]
    image = node.GetImageData()
    if image is None:
        return []
    known = _parts.get(node.GetID())
    if known is None or known[0] != image.GetMTime():
        known = _parts[node.GetID()] = (image.GetMTime(), _labels(slicer.util.arrayFromVolume(node)))
    return known[1]


_parts = {}
"""The parts of the volumes that were looked at, by ID, with the time of their image."""


def changes_of(nodes):
    """Pairs of an object and an event that tell of changes in the voxels and segments of nodes."""
    for node in nodes:
        if node.IsA("vtkMRMLSegmentationNode"):
            kind = slicer.vtkSegmentation
            for event in (kind.SegmentAdded, kind.SegmentRemoved, kind.SegmentModified):
                yield node.GetSegmentation(), event
        else:
            yield node, slicer.vtkMRMLVolumeNode.ImageDataModifiedEvent
            yield node, vtk.vtkCommand.ModifiedEvent


def _labels(values):
    labels = np.unique(values[np.isfinite(values) & (values != 0)])
    if len(labels) == 0:
        return []
    if len(labels) > N_LABELS or not np.array_equal(labels, labels.astype(int)):
        return [("", _("All that is not zero"))]
    found = [(str(n), _("Label {n}").format(n=n)) for n in labels.astype(int)]
    return [("", _("All labels")), *(found if len(found) > 1 else [])]


def _segments(node, part, field):
    segmentation = node.GetSegmentation()
    chosen = [part] if part else [segmentation.GetNthSegmentID(i) for i in range(segmentation.GetNumberOfSegments())]
    if part and segmentation.GetSegment(part) is None:
        raise InputProblem(_("The segment that was chosen is no longer in '{name}'.").format(name=node.GetName()))
    if not chosen:
        return np.zeros(slicer.util.arrayFromVolume(field).shape, np.uint8)
    before = _nodes()
    labels = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLabelMapVolumeNode", "__IR2QSM__")
    try:
        logic = slicer.vtkSlicerSegmentationsModuleLogic
        names = vtk.vtkStringArray()
        for name in chosen:
            names.InsertNextValue(name)
        if not logic.ExportSegmentsToLabelmapNode(
            node, names, labels, field, slicer.vtkSegmentation.EXTENT_REFERENCE_GEOMETRY
        ):
            raise InputProblem(_("The segmentation '{name}' could not be exported.").format(name=node.GetName()))
        return (slicer.util.arrayFromVolume(labels) != 0).astype(np.uint8)
    finally:
        for made in [node for node in _nodes() if node not in before]:      # its display and a colour table, too
            slicer.mrmlScene.RemoveNode(made)


def _nodes():
    return {slicer.mrmlScene.GetNthNode(i) for i in range(slicer.mrmlScene.GetNumberOfNodes())}


def same_grid(a, b):
    """Whether two volumes have one grid in the world: equal shapes, and corners within a tenth of a voxel."""
    shape = a.GetImageData().GetDimensions()
    if shape != b.GetImageData().GetDimensions():
        return False
    tolerance = TENTH * min(b.GetSpacing())
    first, second = _to_world(a), _to_world(b)
    corners = [[i * (n - 1) for i, n in zip(c, shape, strict=True)] for c in np.ndindex(2, 2, 2)]
    return all(
        np.linalg.norm(np.subtract(first.TransformPoint(c), second.TransformPoint(c))) <= tolerance for c in corners
    )


def overlap(mask, field):
    """Whether a mask that holds anything shares space with the field."""
    a, b = [0.0] * 6, [0.0] * 6
    mask.GetRASBounds(a)
    field.GetRASBounds(b)
    empty = a[0] > a[1]             # said elsewhere
    return empty or all(a[2 * i] <= b[2 * i + 1] and b[2 * i] <= a[2 * i + 1] for i in range(3))


def _to_world(node):
    """From voxel indices to world positions [mm], through the transforms above the volume."""
    out = vtk.vtkGeneralTransform()
    out.PostMultiply()
    matrix = vtk.vtkMatrix4x4()
    node.GetIJKToRASMatrix(matrix)
    out.Concatenate(matrix)
    above = vtk.vtkGeneralTransform()
    slicer.vtkMRMLTransformNode.GetTransformBetweenNodes(node.GetParentTransformNode(), None, above)
    out.Concatenate(above)
    return out


def _resampled(node, field):
    """Nearest values of a volume at the voxels of the field: (z, y, x)."""
    image = vtk.vtkImageData()
    image.ShallowCopy(node.GetImageData())
    image.SetSpacing(1.0, 1.0, 1.0)
    image.SetOrigin(0.0, 0.0, 0.0)
    back = _to_world(node)
    back.Inverse()
    between = _to_world(field)
    between.PostMultiply()
    between.Concatenate(back)
    reslice = vtk.vtkImageReslice()
    reslice.SetInputData(image)
    reslice.SetResliceTransform(between)
    reslice.SetInterpolationModeToNearestNeighbor()
    reslice.SetOutputSpacing(1.0, 1.0, 1.0)
    reslice.SetOutputOrigin(0.0, 0.0, 0.0)
    size = field.GetImageData().GetDimensions()
    reslice.SetOutputExtent(0, size[0] - 1, 0, size[1] - 1, 0, size[2] - 1)
    reslice.SetBackgroundLevel(0.0)
    reslice.Update()
    flat = numpy_support.vtk_to_numpy(reslice.GetOutput().GetPointData().GetScalars())
    return flat.reshape(size[::-1])


def b0_of(node):
    """B0 in the voxel axes of a volume: Dᵀ·(0, 0, 1); a transform above the volume does not turn it."""
    matrix = vtk.vtkMatrix4x4()
    node.GetIJKToRASDirectionMatrix(matrix)
    return tuple(matrix.GetElement(2, column) for column in range(3))


def import_map(path, field, *, name, output=None, sidecar=None, reference=""):
    """A map from a file as a volume in the scene, on the field's grid and beside it; `output` is updated if given.

    The map's transform and place in the subject hierarchy are the field's. Its quantity, unit and provenance are on
    the node.
    """
    storage = slicer.vtkMRMLVolumeArchetypeStorageNode()
    storage.SetFileName(str(path))
    read = slicer.vtkMRMLScalarVolumeNode()
    if not storage.ReadData(read) or read.GetImageData().GetDimensions() != field.GetImageData().GetDimensions():
        raise RuntimeError(_("The map that the worker wrote could not be read."))
    node = output if output is not None else slicer.vtkMRMLScalarVolumeNode()
    provenance = json.loads(Path(sidecar).read_text(encoding="utf-8")) if sidecar else {}
    with slicer.util.NodeModify(node):
        node.SetAndObserveImageData(read.GetImageData())
        node.CopyOrientation(field)
        node.SetVoxelValueQuantity(_coded(*QUANTITY))
        node.SetVoxelValueUnits(_coded(*PPM))
        for key in [k for k in node.GetAttributeNames() or () if k.startswith("IR2QSM.")]:
            node.RemoveAttribute(key)
        for key, value in _flat(provenance):
            node.SetAttribute(f"IR2QSM.{key}", value)
        node.SetAttribute("IR2QSM.Reference", reference or str(provenance.get("Reference", "")))
    if output is None:
        node.SetName(slicer.mrmlScene.GenerateUniqueName(name))
        node = slicer.mrmlScene.AddNode(node)
    if node.GetDisplayNode() is None:
        node.CreateDefaultDisplayNodes()
    node.SetAndObserveTransformNodeID(field.GetTransformNodeID())
    _file_beside(node, field)
    return node


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
