"""Dipole operator, Fourier transforms, gradients, solvers and resampling."""
