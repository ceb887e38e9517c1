"""Names that can be chosen, for those who must not wait for torch."""

LEARNED_NAMES = ("ir2qsm", "unet", "xqsm", "lpcnn", "modl-qsm")
METHOD_NAMES = (*LEARNED_NAMES, "tkd", "tikhonov", "tv", "ilsqr", "medi")
"""The methods of `inversion.registry`."""
NETWORK_NAMES = ("ir2unet", "unet", "xqsm", "lpcnn", "modl-qsm", "whole-brain")
"""The networks of `networks.registry`."""
INPUTS = ("auto", "phase", "total-field", "local-field")
BACKGROUNDS = ("v-sharp", "pdf", "lbv")
UNWRAPPINGS = ("path", "laplacian")
NON_FINITE = ("refuse", "mask")
