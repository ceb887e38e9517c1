"""In reading order: inputs, metadata, identify, preprocess, reconstruct, plausibility, provenance, result."""
