"""The token that a client shows to a server: read from a file or the environment, never from the command line."""

from __future__ import annotations

import hmac
import os
import re
import secrets
from pathlib import Path

from IR2QSMLib.core.errors import FileUnreadable, OutputUnwritable, ParameterInvalid

VARIABLE = "IR2QSM_TOKEN"
"""Environment variable that holds a token."""
MIN_LENGTH = 16
"""Fewest characters of a token."""


def read_token(path: Path | None) -> str:
    """The token in a file, or that of the environment when there is no file.

    Raises
    ------
    FileUnreadable
        When the file cannot be read.
    ParameterInvalid
        When there is no token, or one that is too short or holds other characters than a header may.
    """
    if path is None:
        token, source = os.environ.get(VARIABLE, ""), f"the environment variable {VARIABLE}"
        if not token:
            raise ParameterInvalid(
                f"A server needs a token; name the file that holds it with --token-file, or set {VARIABLE}.",
                option="token_file",
            )
    else:
        source = f"the file {path.name}"
        try:
            token = path.read_text(encoding="utf-8", errors="replace")
        except OSError as error:
            raise FileUnreadable(
                f"The token file {path.name} cannot be read ({error.strerror}); give the file with the server's token.",
                option="token_file",
            ) from error
    token = token.strip()
    if not re.fullmatch(rf"[!-~]{{{MIN_LENGTH},1024}}", token):
        raise ParameterInvalid(
            f"The token in {source} has {len(token)} characters; expected {MIN_LENGTH} to 1024 letters, digits and "
            "signs without spaces.",
            option="token_file",
        )
    return token


def make_token_file(path: Path) -> bool:
    """Write a new token that only its owner may read, unless the file exists; returns whether it was made."""
    try:
        number = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return False
    except OSError as error:
        raise OutputUnwritable(
            f"The token file {path.name} cannot be written ({error.strerror}); choose another place for it.",
            option="token_file",
        ) from error
    with os.fdopen(number, "w", encoding="ascii") as file:
        file.write(secrets.token_urlsafe(32) + "\n")
    return True


def is_token(shown: bytes, token: str) -> bool:
    """Whether an Authorization header shows the token; takes as long for a wrong one as for the right one."""
    return hmac.compare_digest(shown, f"Bearer {token}".encode())
