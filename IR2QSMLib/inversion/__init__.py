"""Dipole inversions: each method is a frozen dataclass of its parameters, callable on a local field."""
