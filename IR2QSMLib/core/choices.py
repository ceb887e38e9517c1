"""Names that a user can choose from, without importing torch."""

LEARNED_NAMES = ("ir2qsm", "unet", "xqsm", "lpcnn", "modl-qsm")
"""Methods that use a network."""
METHOD_NAMES = (*LEARNED_NAMES, "tkd", "tikhonov", "tv", "ilsqr", "medi")
"""The methods of `inversion.registry`."""
NETWORK_NAMES = ("ir2unet", "unet", "xqsm", "lpcnn", "modl-qsm", "whole-brain")
"""The networks of `networks.registry`."""
INPUTS = ("auto", "phase", "total-field", "local-field")
"""What an input image may be; auto: a phase if it looks like one, else a local field."""
BACKGROUNDS = ("v-sharp", "pdf", "lbv")
"""Background removals of `pipeline.preprocess`."""
UNWRAPPINGS = ("path", "laplacian")
"""Phase unwrappings of `pipeline.preprocess`."""
VOLUME_SUFFIXES = (".nii.gz", ".nii", ".nrrd", ".mha")
"""Suffixes of files that hold one volume, header and voxels."""
NON_FINITE = ("refuse", "mask")
"""What to do with NaN and infinity inside the mask: refuse the field, or take these voxels out of the mask."""
EXPORT_KINDS = ("mr", "parametric-map")
"""What `export` makes of a map: MR images of 16 bit, or a parametric map of floating-point numbers."""
