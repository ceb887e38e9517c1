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
    """The memory does not hold the volume, on no device and with no tile size."""

    def __init__(
        self,
        message: str = "The memory does not hold the images and what is computed from them; close other programs, or "
        "use a machine or a limit with more memory.",
        option: str | None = None,
    ) -> None:
        super().__init__(message, option)


def is_out_of_memory(error: BaseException | None) -> bool:
    """Whether an error, or what it was raised from, means that memory ran out.

    Torch's CPU allocator, the GPU libraries and ITK raise RuntimeError for it; the loader of libraries, ImportError.
    """
    if error is None:
        return False
    if isinstance(error, IR2QSMError):  # has its own sentence
        return isinstance(error, OutOfMemory)
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":  # torch's, which may be empty
        return True
    says_why = isinstance(error, RuntimeError | ImportError | OSError)
    if says_why and any(text in str(error).lower() for text in _MEMORY_TEXTS):
        return True
    return is_out_of_memory(error.__cause__)


_MEMORY_TEXTS = (
    "out of memory",
    "allocate memory",
    "not enough memory",
    "bad_alloc",
    "failed to map segment",
    "can't start new thread",
    "cublas_status_alloc_failed",
)


class PackageMissing(IR2QSMError):
    """An optional package that this command needs is not installed."""


class ServerUnavailable(IR2QSMError):
    """A server cannot be reached, refuses, or was lost."""


class Cancelled(IR2QSMError):
    """The run was cancelled; nothing half-written stays."""

    def __init__(self, message: str = "The run was cancelled; nothing was written.") -> None:
        super().__init__(message)
