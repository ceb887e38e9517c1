"""Which inputs cannot be reconstructed, in words for the person who chose them."""

from __future__ import annotations

import slicer
from slicer.i18n import tr as _

from IR2QSMGui.parameters import Input
from IR2QSMGui.scene import masks

MIN_VOXELS = 8
"""Voxels along an axis below which the library refuses a field."""


def problems_of(
    field: slicer.vtkMRMLScalarVolumeNode | None,
    mask: slicer.vtkMRMLNode | None,
    part: str = "",
    kind: Input | None = Input.LOCAL,
) -> tuple[str, str]:
    """Why a field and a mask cannot be reconstructed: of the field, of the mask; empty where they can.

    Parameters
    ----------
    field, mask
        As chosen.
    part
        ID of a segment or a label of the mask; all when empty.
    kind
        The field's kind, None where only the library can tell. Phase needs no mask: one can be made.
    """
    of_field = _problem_of_field(field)
    if mask is None and kind in (Input.PHASE, None):
        return of_field, ""
    return of_field, _problem_of_mask(mask, part, None if of_field else field)


def _problem_of_field(field: slicer.vtkMRMLScalarVolumeNode | None) -> str:
    if field is None:
        return _("Choose the phase of an echo, or a field.")
    image = field.GetImageData()
    if image is None:
        return _("'{name}' holds no image; choose another volume.").format(name=field.GetName())
    shape = image.GetDimensions()
    if min(shape) < MIN_VOXELS:
        size = "×".join(map(str, shape))
        return _("'{name}' has {size} voxels; a volume of at least {least} along each axis is needed.").format(
            name=field.GetName(), size=size, least=MIN_VOXELS
        )
    if masks.n_components(field) > 1:
        return _("'{name}' has several values a voxel; choose a volume with one.").format(name=field.GetName())
    return ""


def _problem_of_mask(mask: slicer.vtkMRMLNode | None, part: str, field: slicer.vtkMRMLScalarVolumeNode | None) -> str:
    if mask is None:
        return _("Choose the mask: a segmentation, a labelmap or a volume.")
    if field is not None and not masks.overlap(mask, field):
        return _("'{name}' does not overlap the field; choose another mask.").format(name=mask.GetName())
    if masks.n_components(mask) > 1:
        return _("'{name}' has several values a voxel; choose another mask.").format(name=mask.GetName())
    parts = masks.parts_of(mask)
    if not parts:
        return _("'{name}' is empty; choose another mask.").format(name=mask.GetName())
    if part and part not in [str(identifier) for identifier, _name in parts]:
        return _("The part that was chosen is no longer in '{name}'; choose another.").format(name=mask.GetName())
    if masks.is_empty(mask, part):
        name = dict(parts)[part] if part else mask.GetName()
        return _("'{name}' has no voxels; draw them, or choose another mask.").format(name=name)
    return ""
