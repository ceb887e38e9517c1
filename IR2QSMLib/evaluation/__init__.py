"""Scores of maps, comparisons and benchmarks."""
