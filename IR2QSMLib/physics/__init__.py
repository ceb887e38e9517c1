"""Fourier transforms, resampling and the dipole operator."""
