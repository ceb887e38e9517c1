"""The data's way, in reading order: inputs, identify, preprocess, reconstruct, plausibility, provenance, result."""
