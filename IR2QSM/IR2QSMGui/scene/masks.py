"""Masks: segmentations, labelmaps and volumes, what can be chosen of them, and how they come to a field's grid."""

import numpy as np
import slicer
import vtk
from slicer.i18n import tr as _
from vtk.util import numpy_support

from IR2QSMGui.parameters import InputProblem

N_LABELS = 64
"""More different values than these are not labels."""
TENTH = 0.1
"""Voxels by which corners of one grid may differ; the library's own rule."""


def mask_on(node, part, field):
    """The chosen part of a mask on the field's grid, (z, y, x) of 0 and 1, and what was done to bring it there.

    Raises InputProblem where nothing of it lies on that grid.
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


def on_grid(node, part, field):
    """Whether the chosen part of a mask lies on the field's grid already, or must be resampled."""
    if not node.IsA("vtkMRMLSegmentationNode"):
        return same_grid(node, field)
    return all(_offset(node, segment, field) is not None for segment in _chosen(node, part))


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


def n_values(node):
    """Values a voxel: 1 of a segmentation, and of a volume that can be a field or a mask; a tensor has 9."""
    image = None if node.IsA("vtkMRMLSegmentationNode") else node.GetImageData()
    if image is None:
        return 1
    return image.GetNumberOfScalarComponents() if image.GetPointData().GetScalars() is not None else 9


_parts = {}
"""What was found in the images that were looked at, by ID, with the time of the image."""


def is_empty(node, part):
    """Whether the chosen segment, or with none chosen every one, has no voxels and no surface."""
    return node.IsA("vtkMRMLSegmentationNode") and all(_has_nothing(node, segment) for segment in _chosen(node, part))


def changes_of(nodes):
    """Pairs of an object and an event that tell of changes in the voxels and segments of nodes."""
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
    if len(labels) > N_LABELS or not np.array_equal(labels, labels.astype(int)):
        return [("", _("All that is not zero"))]
    found = [(str(n), _("Label {n}").format(n=n)) for n in labels.astype(int)]
    return [("", _("All labels")), *(found if len(found) > 1 else [])]


def _chosen(node, part):
    segmentation = node.GetSegmentation()
    if part and segmentation.GetSegment(part) is None:
        raise InputProblem(_("The segment that was chosen is no longer in '{name}'.").format(name=node.GetName()))
    return [part] if part else [segmentation.GetNthSegmentID(i) for i in range(segmentation.GetNumberOfSegments())]


def _labelmap(node, segment):
    """A segment's voxels as they are stored, with those of segments that share the image; None for a surface."""
    name = slicer.vtkSegmentationConverter.GetSegmentationBinaryLabelmapRepresentationName()
    return node.GetSegmentation().GetSegment(segment).GetRepresentation(name)


def _has_nothing(node, segment):
    image = _labelmap(node, segment)
    if image is None:
        name = slicer.vtkSegmentationConverter.GetSegmentationClosedSurfaceRepresentationName()
        surface = node.GetSegmentation().GetSegment(segment).GetRepresentation(name)
        return surface is None or surface.GetNumberOfPoints() == 0
    if image.IsEmpty():
        return True
    key, label = (node.GetID(), segment), node.GetSegmentation().GetSegment(segment).GetLabelValue()
    known = _parts.get(key)
    if known is None or known[0] != image.GetMTime():
        values = numpy_support.vtk_to_numpy(image.GetPointData().GetScalars())
        known = _parts[key] = (image.GetMTime(), not (values == label).any())
    return known[1]


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
    for step in (matrix, _above(node), back):
        between.Concatenate(step)
    x, y, z = np.reshape(image.GetExtent(), (3, 2))
    corners = [(i, j, k) for i in x for j in y for k in z]
    steps = np.array([np.subtract(between.TransformPoint(c), c) for c in corners])
    offset = np.round(steps[0]).astype(int)
    return offset if np.abs(steps - offset).max() <= TENTH else None


def _segments(node, part, field):
    """The union of segments on the field's grid: (z, y, x) of 0 and 1."""
    found = np.zeros(field.GetImageData().GetDimensions()[::-1], np.uint8)
    elsewhere = []
    for segment in _chosen(node, part):
        offset = _offset(node, segment, field)
        if offset is None:
            elsewhere.append(segment)
        elif not _has_nothing(node, segment):
            _paste(_labelmap(node, segment), node.GetSegmentation().GetSegment(segment).GetLabelValue(), offset, found)
    if elsewhere:
        found |= _exported(node, elsewhere, field)
    return found


def _paste(image, label, offset, found):
    begin, end = (np.array(image.GetExtent()[i::2]) for i in (0, 1))
    values = numpy_support.vtk_to_numpy(image.GetPointData().GetScalars()).reshape((end - begin + 1)[::-1])
    low = np.maximum(begin + offset, 0)
    high = np.minimum(end + offset + 1, found.shape[::-1])
    if (low < high).all():
        there = tuple(map(slice, low[::-1], high[::-1]))
        here = tuple(map(slice, (low - begin - offset)[::-1], (high - begin - offset)[::-1]))
        found[there] |= values[here] == label


def _exported(node, segments, field):
    before = nodes_of_scene()
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
        for made in nodes_of_scene() - before:  # its display and a colour table, too
            slicer.mrmlScene.RemoveNode(made)


def nodes_of_scene():
    """All nodes that are in the scene."""
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
    empty = a[0] > a[1]  # said elsewhere
    return empty or all(a[2 * i] <= b[2 * i + 1] and b[2 * i] <= a[2 * i + 1] for i in range(3))


def _to_world(node):
    """From voxel indices to world positions [mm], through the transforms above the volume."""
    out = vtk.vtkGeneralTransform()
    out.PostMultiply()
    matrix = vtk.vtkMatrix4x4()
    node.GetIJKToRASMatrix(matrix)
    out.Concatenate(matrix)
    out.Concatenate(_above(node))
    return out


def _above(node):
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
