"""Standard output and error that may be closed, full or missing: what cannot be printed changes nothing else."""

from __future__ import annotations

import io
import os
import re
import sys
from contextlib import suppress
from typing import TextIO

CONTROL_CHARACTERS = re.compile(r"[\x00-\x1f\x7f]")
"""What would break a sentence into lines, or move a terminal's cursor."""


def open_standard_streams() -> None:
    """Give the process the standard streams that its caller closed, as empty ones.

    Else a result could be opened under the number of standard output, and libraries would print into it.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            with suppress(OSError):
                os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free, which is this one
    if sys.stdout is None:
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a terminal that lacks χ and λ still gets the text


def write_text(text: str, stream: TextIO, end: str = "\n") -> None:
    """Print a text at once; a stream that takes none is silent from then on."""
    try:
        print(text, end=end, file=stream, flush=True)
    except (OSError, ValueError):  # a closed pipe, a full disk; ValueError from a stream that Python has closed
        _silence(stream)


def flush_standard_streams() -> None:
    """Print what is left, so that Python, which tries it when the process ends, has nothing to complain of."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            _silence(stream)


def one_line(text: str) -> str:
    """The text with control characters, which names of files may hold, as escapes such as \\x0a."""
    return CONTROL_CHARACTERS.sub(lambda match: f"\\x{ord(match[0]):02x}", text)


def is_terminal(stream: TextIO) -> bool:
    """Whether a person watches the stream."""
    try:
        return stream.isatty()
    except ValueError:
        return False


def _silence(stream: TextIO) -> None:
    """Send all that the stream still holds, and all that follows, to nowhere."""
    with suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        try:
            os.dup2(nowhere, stream.fileno())
        finally:
            os.close(nowhere)
        stream.flush()
