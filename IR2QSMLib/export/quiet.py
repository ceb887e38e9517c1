"""The DICOM libraries without their messages, which quote values of headers: names and dates of birth among them."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from pydicom.config import disable_value_validation

LIBRARIES = ("highdicom", "pydicom", "pynetdicom")


@contextmanager
def quiet() -> Iterator[None]:
    """Neither warnings nor logs of the DICOM libraries inside, and no refusal of a value that stood in a header."""
    loggers = [logging.getLogger(name) for name in LIBRARIES]
    levels = [logger.level for logger in loggers]
    with warnings.catch_warnings(), disable_value_validation():
        warnings.simplefilter("ignore")
        for logger in loggers:
            logger.setLevel(logging.CRITICAL + 1)
        try:
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)
