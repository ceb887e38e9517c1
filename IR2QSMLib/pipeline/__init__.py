"""In reading order: inputs, metadata, inspection, preprocess, reconstruct, plausibility, provenance, result."""
