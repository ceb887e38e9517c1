"""The files of one run: each is written under a temporary name, and all are renamed together at the end."""

from __future__ import annotations

import builtins
import contextlib
import json
import os
import shutil
import tempfile
import threading
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from types import TracebackType

import SimpleITK as sitk
from torch import Tensor

from IR2QSMLib.core.choices import VOLUME_SUFFIXES
from IR2QSMLib.core.errors import Cancelled, FileUnreadable, OutOfMemory, OutputUnwritable, is_out_of_memory
from IR2QSMLib.core.grid import Grid
from IR2QSMLib.io.images import image_of, itk_path
from IR2QSMLib.io.nifti import read_stored_values

TWO_FILE_SUFFIXES = (".nhdr", ".mhd", ".hdr", ".img")
"""Suffixes of formats that store header and data in two files."""


def check_writable(path: Path | str, suffixes: Sequence[str] = VOLUME_SUFFIXES) -> None:
    """Raise OutputUnwritable unless a file with one of `suffixes` (any, if there are none) can be written at `path`."""
    path = Path(path)
    accepted = ", ".join(suffixes)
    if suffixes and not path.name.lower().endswith(tuple(suffixes)):
        if path.suffix.lower() in TWO_FILE_SUFFIXES:
            raise OutputUnwritable(
                f"{path.name} would become two files, a header and its data; expected one of {accepted}.",
                option="output",
            )
        raise OutputUnwritable(f"{path.name} has no known suffix; expected one of {accepted}.", option="output")
    try:
        itk_path(os.path.abspath(path))
    except FileUnreadable as error:
        raise OutputUnwritable(str(error), option="output") from error
    try:
        if path.is_dir():
            raise OutputUnwritable(f"{path.name} is a folder; give the name of a file.")
        if not path.parent.exists():
            raise OutputUnwritable(f"{path.name} cannot be written: its folder does not exist; create it first.")
        if not path.parent.is_dir():
            raise OutputUnwritable(f"{path.name} cannot be written: its parent is a file; choose a folder.")
        with contextlib.suppress(FileNotFoundError):
            path.lstat()  # a name that is too long shows here
        with tempfile.TemporaryFile(dir=path.parent):
            pass
    except OSError as error:
        raise _unwritable(path, error) from error


def _unwritable(path: Path, error: OSError) -> OutputUnwritable:
    return OutputUnwritable(f"{path.name} cannot be written ({error.strerror}); choose another place for it.")


class Outputs:
    """All files of one run: in place when the with-block ends, or none of them when it raises.

    Raises
    ------
    OutputUnwritable
        When a file cannot be written.
    Cancelled
        Once `discard` was called.
    """

    def __init__(self) -> None:
        self._pending: dict[Path, Path] = {}  # temporary -> destination
        self._discarded = False
        self.kept = False
        """Whether the files are in place under their own names."""
        self._lock = threading.RLock()

    def __enter__(self) -> Outputs:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                self._rename_all()
        finally:
            self.discard()

    def volume(self, path: Path | str, values: Tensor, grid: Grid) -> None:
        """Add a compressed volume (x, y, z) on `grid`: bool and uint8 values as uint8, real ones as float32."""
        check_writable(path)
        image = image_of(values, grid)

        def write(temporary: Path) -> None:
            sitk.WriteImage(image, itk_path(temporary), useCompression=True)
            if ".nii" in temporary.suffixes:  # ITK does not notice when the disk is full while it writes NIfTI
                read_stored_values(temporary)

        suffix = next(s for s in VOLUME_SUFFIXES if Path(path).name.lower().endswith(s))
        self._add(Path(path), suffix, write)

    def json(self, path: Path | str, content: Mapping[str, object]) -> None:
        """Add a JSON file; raises OutputUnwritable when a number in it is not finite."""
        check_writable(path, (".json",))
        try:
            text = json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False)
        except ValueError as error:
            raise OutputUnwritable(
                f"{Path(path).name} would hold NaN or infinity, which JSON does not know; give null instead."
            ) from error
        self.text(path, text + "\n")

    def text(self, path: Path | str, content: str) -> None:
        """Add a text file (UTF-8)."""
        self.bytes(path, content.encode(errors="backslashreplace"))  # \udcXX of names that are not UTF-8

    def bytes(self, path: Path | str, content: bytes) -> None:
        """Add a file of bytes."""
        self.pieces(path, [content])

    def pieces(self, path: Path | str, content: Iterable[builtins.bytes]) -> None:
        """Add a file whose bytes come piece by piece; an error in their source leaves no file."""
        check_writable(path, ())
        self._add(Path(path), Path(path).suffix, lambda temporary: _write_bytes(temporary, content))

    def discard(self) -> None:
        """Remove all files that are not in place and refuse further ones; may be called repeatedly, from any thread."""
        with self._lock:
            self._discarded = True
            for temporary in list(self._pending):
                self._remove(temporary)

    def _add(self, path: Path, suffix: str, write: Callable[[Path], None]) -> None:
        """Write a file under a temporary name beside its own; raises as the class says."""
        path = Path(os.path.abspath(path))
        temporary = path.with_name(f".ir2qsm-{uuid.uuid4().hex[:12]}{suffix}")
        with self._lock:
            if self._discarded:
                raise Cancelled
            if any(os.path.normcase(path) == os.path.normcase(other) for other in self._pending.values()):
                raise OutputUnwritable(f"{path.name} is named for two results; give each its own file.")
            self._pending[temporary] = path
        # Without the lock, as another thread must be able to discard during a long write.
        try:
            write(temporary)
        except BaseException as error:
            with self._lock:
                self._remove(temporary)
                if self._discarded and isinstance(error, Exception):
                    raise Cancelled from error
            if is_out_of_memory(error):
                raise OutOfMemory from error
            if isinstance(error, OSError):
                raise _unwritable(path, error) from error
            if isinstance(error, RuntimeError | FileUnreadable):
                raise OutputUnwritable(
                    f"{path.name} could not be written in full; see whether the disk is full or was removed."
                ) from error
            raise
        with self._lock:
            if self._discarded:
                self._remove(temporary)
                raise Cancelled

    def _rename_all(self) -> None:
        """Give every file its own name; where one cannot have it, those that were there before come back."""
        with self._lock, contextlib.ExitStack() as set_aside:
            if self._discarded:
                raise Cancelled
            renamed: list[tuple[Path, Path | None]] = []
            for temporary, path in list(self._pending.items()):
                try:
                    older = _set_aside(path)
                    if older is not None:
                        set_aside.callback(older.unlink, missing_ok=True)
                    os.replace(temporary, path)
                except OSError as error:
                    for new, old in reversed(renamed):
                        with contextlib.suppress(OSError):
                            new.unlink() if old is None else os.replace(old, new)
                    raise _unwritable(path, error) from error
                renamed.append((path, older))
                del self._pending[temporary]
            self.kept = True

    def _remove(self, temporary: Path) -> None:
        """Remove a temporary file; one that another thread still holds open (Windows) is tried again later."""
        try:
            temporary.unlink(missing_ok=True)
        except OSError:
            return
        self._pending.pop(temporary, None)


def _set_aside(path: Path) -> Path | None:
    """A second name or a copy of a file that will be replaced, beside it; None where there is no file."""
    if not path.is_file() or path.is_symlink():
        return None
    older = path.with_name(f".ir2qsm-{uuid.uuid4().hex[:12]}-old")
    try:
        os.link(path, older)
    except OSError:  # not every file system has links
        shutil.copyfile(path, older)
    return older


def _write_bytes(path: Path, content: Iterable[bytes]) -> None:
    with path.open("xb") as file:
        file.writelines(content)
