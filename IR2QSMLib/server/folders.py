"""The temporary folders of runs on a server: each goes with its run; those of a killed server, with the next start."""

from __future__ import annotations

import os
import shutil
import stat
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from IR2QSMLib.core.errors import OutputUnwritable

PREFIX = "ir2qsm-serve-"
LOCK = "lock"
"""File in the folder of a server that is locked as long as the server lives."""
TRIES, PAUSE = 10, 0.3
"""A worker whose server was killed ends within two seconds, and may hold its files as long [s]."""
UNLOCKED_SECONDS = 600.0
"""After which a folder without the file `LOCK` belongs to no server that is starting."""


class ServerFolder:
    """The folder of one server, which only its user may read; made at its start and removed at its end.

    Parameters
    ----------
    parent
        Where it is made.

    Raises
    ------
    OutputUnwritable
        When it cannot be made.
    """

    def __init__(self, parent: Path) -> None:
        try:
            remove_leftovers(parent)
            self.path = Path(tempfile.mkdtemp(prefix=PREFIX, dir=parent))
            self._lock: IO[bytes] = (self.path / LOCK).open("wb")
        except OSError as error:
            raise OutputUnwritable(
                f"The server cannot make its temporary folder ({error.strerror}); choose another one with --folder.",
                option="folder",
            ) from error
        _try_to_lock(self._lock)

    @contextmanager
    def of_run(self) -> Iterator[Path]:
        """A folder for one run, gone at its end."""
        folder = Path(tempfile.mkdtemp(prefix="run-", dir=self.path))
        try:
            yield folder
        finally:
            _remove(folder)

    def runs(self) -> list[Path]:
        """The folders of runs that are there now."""
        return sorted(self.path.glob("run-*"))

    def close(self) -> None:
        """Remove everything."""
        self._lock.close()
        _remove(self.path)


def remove_leftovers(parent: Path) -> None:
    """Remove the folders of servers of this user that were killed."""
    for folder in parent.glob(f"{PREFIX}*"):
        with suppress(OSError):
            about = folder.lstat()
            if not stat.S_ISDIR(about.st_mode) or (hasattr(os, "getuid") and about.st_uid != os.getuid()):
                continue
            try:
                with (folder / LOCK).open("r+b") as lock:
                    abandoned = _try_to_lock(lock)
            except FileNotFoundError:
                abandoned = time.time() - about.st_mtime > UNLOCKED_SECONDS
            if abandoned:
                _remove(folder)


def _try_to_lock(file: IO[bytes]) -> bool:
    """Lock a file until it is closed, also by the end of the process; returns whether nobody else holds it."""
    try:
        if sys.platform == "win32":
            import msvcrt

            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _remove(folder: Path) -> None:
    """Remove a folder, also while a worker that is ending still writes into it."""
    for _ in range(TRIES):
        shutil.rmtree(folder, ignore_errors=True)
        if not folder.exists():
            return
        time.sleep(PAUSE)
