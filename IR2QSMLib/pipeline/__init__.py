"""In reading order: inputs, metadata, inspection, preprocess, reconstruct, invert, plausibility, provenance, result."""
