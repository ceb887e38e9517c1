"""Errors, units, grids, volumes, progress, devices: the words that everything else speaks."""
