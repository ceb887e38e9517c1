"""The version of library, extension and citation."""

__version__ = "0.1.0"
