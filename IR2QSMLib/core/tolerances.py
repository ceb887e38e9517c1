"""How far numbers of two headers may differ and still mean the same: writers round them."""

ECHO_TIME_TOLERANCE = 1e-5
"""Echo times [s] that differ by no more are the same."""
COSINE_TOLERANCE = 1e-3
"""Direction cosines that differ by no more are the same, and axes at right angles whose |DᵀD − 1| is no larger: about
0.06° between two axes."""
SPACING_TOLERANCE = 1e-3
"""Relative difference up to which voxel sizes are the same."""
POSITION_DIGITS = 2
"""Decimals of a slice's position [mm]: slices whose rounded positions agree share a place."""
