"""Figures, tables and pages of maps."""
