"""Errors: a message says what came, what was expected and what to do."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


class IR2QSMError(Exception):
    """Base class of every error that a user can cause or mend.

    Parameters
    ----------
    message
        What came, what was expected and what to do.
    option
        The input or option to change, if it is one: its name on the command line without leading dashes, words joined
        by underscores ("mask", "mask_labels").
    """

    def __init__(self, message: str, option: str | None = None) -> None:
        super().__init__(message)
        self.option = option

    @property
    def kind(self) -> str:
        """Name of the error as the worker's protocol reports it."""
        return type(self).__name__


@contextmanager
def errors_naming(option: str) -> Iterator[None]:
    """Errors that are raised inside mean that option, unless they name one themselves."""
    try:
        yield
    except IR2QSMError as error:
        error.option = error.option or option
        raise


class GridMismatch(IR2QSMError):
    """Two images do not lie on the same grid."""


class GridInvalid(IR2QSMError):
    """An image's geometry cannot be used: sheared, singular, or not three-dimensional."""


class MaskInvalid(IR2QSMError):
    """A mask is empty or not binary."""


class FieldInvalid(IR2QSMError):
    """A field is not finite, or implausible in its unit."""


class ParameterInvalid(IR2QSMError):
    """A parameter is missing or out of range."""


class FileUnreadable(IR2QSMError):
    """A file is missing, truncated or of an unknown format."""


class OutputUnwritable(IR2QSMError):
    """A result cannot be written where it was asked for."""


class WeightsInvalid(IR2QSMError):
    """A weights file is missing, altered or does not fit its network."""


class DeviceUnavailable(IR2QSMError):
    """The device that was named cannot run."""


class OutOfMemory(IR2QSMError):
    """No device and no tile size holds the volume."""


class PackageMissing(IR2QSMError):
    """An optional package that this command needs is not installed."""


class Cancelled(IR2QSMError):
    """The run was cancelled; nothing half-written stays."""

    def __init__(self, message: str = "The run was cancelled; nothing was written.") -> None:
        super().__init__(message)
