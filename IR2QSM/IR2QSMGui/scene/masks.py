"""Masks: the parts of segmentations, labelmaps and volumes that can be chosen, brought to a field's grid."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import slicer
import vtk
from slicer.i18n import tr as _
from vtk.util import numpy_support

from IR2QSMGui.parameters import InputProblem

MAX_LABELS = 64
"""A volume with more different values than these does not hold labels."""
GRID_TOLERANCE = 0.1
"""Voxels by which corners of one grid may differ; the library's own rule."""


def mask_on(node: slicer.vtkMRMLNode, part: str, field: slicer.vtkMRMLScalarVolumeNode) -> tuple[np.ndarray, str]:
    """The chosen part of a mask on the field's grid.

    Parameters
    ----------
    node
        Segmentation, labelmap or volume.
    part
        ID of a segment or a label; all when empty.
    field
        A volume with the grid.

    Returns
    -------
    inside
        0 and 1: (z, y, x).
    note
        A sentence when the mask was resampled, else nothing.

    Raises
    ------
    InputProblem
        When nothing of it lies on that grid.
    """
    fits = on_grid(node, part, field)
    if node.IsA("vtkMRMLSegmentationNode"):
        chosen = _segments(node, part, field)
    else:
        values = slicer.util.arrayFromVolume(node) if fits else _resampled(node, field)
        chosen = np.ascontiguousarray(values == int(part) if part else values != 0, dtype=np.uint8)
    name = node.GetName()
    if not chosen.any():
        raise InputProblem(
            _("What was chosen of '{name}' has no voxels on the grid of '{field}'; choose another mask.").format(
                name=name, field=field.GetName()
            )
        )
    note = _("The mask '{name}' lies on another grid and was resampled to that of the field.").format(name=name)
    return chosen, "" if fits else note


def on_grid(node: slicer.vtkMRMLNode, part: str, field: slicer.vtkMRMLScalarVolumeNode) -> bool:
    """Whether the chosen part of a mask lies on the field's grid already, or must be resampled."""
    if not node.IsA("vtkMRMLSegmentationNode"):
        return same_grid(node, field)
    return all(_offset(node, segment, field) is not None for segment in _chosen(node, part))


def parts_of(node: slicer.vtkMRMLNode | None) -> list[tuple[str, str]]:
    """The parts of a mask that can be chosen, as identifiers and names, all of it first; none when it is empty."""
    if node is None:
        return []
    if node.IsA("vtkMRMLSegmentationNode"):
        segmentation = node.GetSegmentation()
        identifiers = [segmentation.GetNthSegmentID(i) for i in range(segmentation.GetNumberOfSegments())]
        all_segments = [("", _("All segments"))] if identifiers else []
        return all_segments + [(i, segmentation.GetSegment(i).GetName()) for i in identifiers]
    image = node.GetImageData()
    if image is None:
        return []
    cached = _parts_cache.get(node.GetID())
    if cached is None or cached[0] != image.GetMTime():
        cached = _parts_cache[node.GetID()] = (image.GetMTime(), _labels(slicer.util.arrayFromVolume(node)))
    return cached[1]


def n_components(node: slicer.vtkMRMLNode) -> int:
    """Values in each voxel: 1 for a segmentation and for a volume that can be a field or a mask, 9 for a tensor."""
    image = None if node.IsA("vtkMRMLSegmentationNode") else node.GetImageData()
    if image is None:
        return 1
    return image.GetNumberOfScalarComponents() if image.GetPointData().GetScalars() is not None else 9


_parts_cache: dict[str, tuple[int, list[tuple[str, str]]]] = {}
"""Parts of volumes by the volume's ID, with the time of the image."""
_empty_cache: dict[tuple[str, str], tuple[int, bool]] = {}
"""Whether segments have no voxels, by IDs of segmentation and segment, with the time of the image."""


def is_empty(node: slicer.vtkMRMLNode, part: str) -> bool:
    """Whether the chosen segment, or with none chosen every one, has no voxels and no surface."""
    return node.IsA("vtkMRMLSegmentationNode") and all(
        _segment_is_empty(node, segment) for segment in _chosen(node, part)
    )


def change_events(nodes: Iterable[slicer.vtkMRMLNode]) -> Iterator[tuple]:
    """Pairs of an object and an event that it invokes when voxels, segments or names of one of the nodes change."""
    for node in nodes:
        if node.IsA("vtkMRMLSegmentationNode"):
            for name in ("SegmentAdded", "SegmentRemoved", "SegmentModified", "SourceRepresentationModified"):
                yield node.GetSegmentation(), getattr(slicer.vtkSegmentation, name)
        else:
            yield node, slicer.vtkMRMLVolumeNode.ImageDataModifiedEvent
            yield node, vtk.vtkCommand.ModifiedEvent


def _labels(values):
    labels = np.unique(values[np.isfinite(values) & (values != 0)])
    if len(labels) == 0:
        return []
    if len(labels) > MAX_LABELS or not np.array_equal(labels, labels.astype(int)):
        return [("", _("All that is not zero"))]
    single = [(str(n), _("Label {n}").format(n=n)) for n in labels.astype(int)]
    return [("", _("All labels")), *(single if len(single) > 1 else [])]


def _chosen(node, part):
    segmentation = node.GetSegmentation()
    if part and segmentation.GetSegment(part) is None:
        raise InputProblem(_("The segment that was chosen is no longer in '{name}'.").format(name=node.GetName()))
    return [part] if part else [segmentation.GetNthSegmentID(i) for i in range(segmentation.GetNumberOfSegments())]


def _labelmap(node, segment):
    """A segment's voxels as they are stored, with those of segments that share the image; None for a surface."""
    name = slicer.vtkSegmentationConverter.GetSegmentationBinaryLabelmapRepresentationName()
    return node.GetSegmentation().GetSegment(segment).GetRepresentation(name)


def _segment_is_empty(node, segment):
    image = _labelmap(node, segment)
    if image is None:
        name = slicer.vtkSegmentationConverter.GetSegmentationClosedSurfaceRepresentationName()
        surface = node.GetSegmentation().GetSegment(segment).GetRepresentation(name)
        return surface is None or surface.GetNumberOfPoints() == 0
    if image.IsEmpty():
        return True
    key, label = (node.GetID(), segment), node.GetSegmentation().GetSegment(segment).GetLabelValue()
    cached = _empty_cache.get(key)
    if cached is None or cached[0] != image.GetMTime():
        values = numpy_support.vtk_to_numpy(image.GetPointData().GetScalars())
        cached = _empty_cache[key] = (image.GetMTime(), not (values == label).any())
    return cached[1]


def _offset(node, segment, field):
    """From voxels of a segment's image, which may be cropped, to those of the field; None where grids differ."""
    image = _labelmap(node, segment)
    if image is None:
        return None
    matrix = vtk.vtkMatrix4x4()
    image.GetImageToWorldMatrix(matrix)
    back = _to_world(field)
    back.Inverse()
    between = vtk.vtkGeneralTransform()
    between.PostMultiply()
    for step in (matrix, _transform_above(node), back):
        between.Concatenate(step)
    x, y, z = np.reshape(image.GetExtent(), (3, 2))
    corners = [(i, j, k) for i in x for j in y for k in z]
    steps = np.array([np.subtract(between.TransformPoint(c), c) for c in corners])
    offset = np.round(steps[0]).astype(int)
    return offset if np.abs(steps - offset).max() <= GRID_TOLERANCE else None


def _segments(node, part, field):
    """The union of segments on the field's grid: (z, y, x) of 0 and 1."""
    inside = np.zeros(field.GetImageData().GetDimensions()[::-1], np.uint8)
    on_other_grids = []
    for segment in _chosen(node, part):
        offset = _offset(node, segment, field)
        if offset is None:
            on_other_grids.append(segment)
        elif not _segment_is_empty(node, segment):
            _paste(_labelmap(node, segment), node.GetSegmentation().GetSegment(segment).GetLabelValue(), offset, inside)
    if on_other_grids:
        inside |= _exported(node, on_other_grids, field)
    return inside


def _paste(image, label, offset, inside):
    """Set the voxels of a label in an image that begins `offset` voxels away."""
    begin, end = (np.array(image.GetExtent()[i::2]) for i in (0, 1))
    values = numpy_support.vtk_to_numpy(image.GetPointData().GetScalars()).reshape((end - begin + 1)[::-1])
    low = np.maximum(begin + offset, 0)
    high = np.minimum(end + offset + 1, inside.shape[::-1])
    if (low < high).all():
        there = tuple(map(slice, low[::-1], high[::-1]))
        here = tuple(map(slice, (low - begin - offset)[::-1], (high - begin - offset)[::-1]))
        inside[there] |= values[here] == label


def _exported(node, segments, field):
    before = nodes_in_scene()
    labels = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLabelMapVolumeNode", "__IR2QSM__")
    try:
        logic = slicer.vtkSlicerSegmentationsModuleLogic
        names = vtk.vtkStringArray()
        for name in segments:
            names.InsertNextValue(name)
        if not logic.ExportSegmentsToLabelmapNode(
            node, names, labels, field, slicer.vtkSegmentation.EXTENT_REFERENCE_GEOMETRY
        ):
            raise InputProblem(_("The segmentation '{name}' could not be exported.").format(name=node.GetName()))
        return (slicer.util.arrayFromVolume(labels) != 0).astype(np.uint8)
    finally:
        for new_node in nodes_in_scene() - before:  # its display and a colour table, too
            slicer.mrmlScene.RemoveNode(new_node)


def nodes_in_scene() -> set:
    """All nodes of the scene."""
    return {slicer.mrmlScene.GetNthNode(i) for i in range(slicer.mrmlScene.GetNumberOfNodes())}


def same_grid(a: slicer.vtkMRMLVolumeNode, b: slicer.vtkMRMLVolumeNode) -> bool:
    """Whether two volumes have one grid in the world: equal shapes, and corners within a tenth of a voxel."""
    shape = a.GetImageData().GetDimensions()
    if shape != b.GetImageData().GetDimensions():
        return False
    tolerance = GRID_TOLERANCE * min(b.GetSpacing())
    first, second = _to_world(a), _to_world(b)
    corners = [[i * (n - 1) for i, n in zip(c, shape, strict=True)] for c in np.ndindex(2, 2, 2)]
    return all(
        np.linalg.norm(np.subtract(first.TransformPoint(c), second.TransformPoint(c))) <= tolerance for c in corners
    )


def overlap(mask: slicer.vtkMRMLNode, field: slicer.vtkMRMLVolumeNode) -> bool:
    """Whether a mask that holds anything shares space with the field."""
    a, b = [0.0] * 6, [0.0] * 6
    mask.GetRASBounds(a)
    field.GetRASBounds(b)
    empty = a[0] > a[1]  # which has a message of its own
    return empty or all(a[2 * i] <= b[2 * i + 1] and b[2 * i] <= a[2 * i + 1] for i in range(3))


def _to_world(node):
    """From voxel indices to world positions [mm], through the transforms above the volume."""
    out = vtk.vtkGeneralTransform()
    out.PostMultiply()
    matrix = vtk.vtkMatrix4x4()
    node.GetIJKToRASMatrix(matrix)
    out.Concatenate(matrix)
    out.Concatenate(_transform_above(node))
    return out


def _transform_above(node):
    above = vtk.vtkGeneralTransform()
    slicer.vtkMRMLTransformNode.GetTransformBetweenNodes(node.GetParentTransformNode(), None, above)
    return above


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
