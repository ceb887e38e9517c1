"""What a run on a server is asked with: options that are safe to pass on, files, and the results that are wanted."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

from IR2QSMLib.core.choices import (
    BACKGROUNDS,
    INPUTS,
    METHOD_NAMES,
    NON_FINITE,
    UNWRAPPINGS,
    VOLUME_SUFFIXES,
)
from IR2QSMLib.core.errors import ParameterInvalid
from IR2QSMLib.core.units import FIELD_UNITS

Words = Callable[[Any], list[str]]
"""Turns the value of an option into words of a command line; raises ValueError for what it does not accept."""
MAX_FILES = 50_000
"""Most files of one run: slices of a DICOM folder."""
MAX_NUMBERS = 1000
"""Most values of one option."""


def _number(value: Any) -> list[str]:
    """Without an exponent, which argparse would not take for a negative number."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError("a finite number")
    return [f"{Decimal(repr(value)):f}"]


def _numbers(value: Any) -> list[str]:
    if not isinstance(value, list) or not 1 <= len(value) <= MAX_NUMBERS:
        raise ValueError("a list of numbers")
    return [_number(one)[0] for one in value]


def _number_or_auto(value: Any) -> list[str]:
    return ["auto"] if value == "auto" else _number(value)


def _flag(value: Any) -> list[str]:
    if value is not True:
        raise ValueError("true")
    return []


def _names(value: Any) -> list[str]:
    """Names of series, which are compared with those of a scan and open nothing."""
    if not isinstance(value, list) or not 1 <= len(value) <= MAX_NUMBERS:
        raise ValueError("a list of names")
    for name in value:
        if not isinstance(name, str) or not name.isprintable() or name.startswith("-") or len(name) > 256:
            raise ValueError("printable names that do not begin with a dash")
    return value


def _plain_names(value: Any) -> list[str]:
    """Names of series or files of a folder that is sent."""
    names = _names(value)
    if not all(map(is_plain_name, names)):
        raise ValueError("names without folders")
    return names


def _word(value: Any) -> list[str]:
    if not isinstance(value, str) or not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9 .]{0,63}", value):
        raise ValueError("a word")
    return [value]


def _one_of(*choices: str) -> Words:
    def words(value: Any) -> list[str]:
        if value not in choices:
            raise ValueError(f"one of {', '.join(choices)}")
        return [value]

    return words


SAFE_OPTIONS: dict[str, Words] = {
    "accept_filtered": _flag,
    "b0": _number,
    "b0_direction": _numbers,
    "background": _one_of(*BACKGROUNDS),
    "bipolar": _flag,
    "completion_steps": _number,
    "flip_sign": _flag,
    "imaginary": _plain_names,
    "input": _one_of(*INPUTS),
    "manufacturer": _word,
    "mask_labels": _numbers,
    "mask_threshold": _number,
    "merit": _flag,
    "method": _one_of(*METHOD_NAMES),
    "network_only": _flag,
    "non_finite": _one_of(*NON_FINITE),
    "outside": _one_of("zero", "free", "auto"),
    "phase_range": _numbers,
    "real": _plain_names,
    "reference": _one_of("mean", "none"),
    "regularisation": _number_or_auto,
    "regularisation_factor": _number,
    "series": _names,
    "smv_radius": _number,
    "te": _numbers,
    "threshold": _number_or_auto,
    "tile": _number,
    "units": _one_of(*FIELD_UNITS),
    "unwrapping": _one_of(*UNWRAPPINGS),
    "volume": _word,
}
"""Options of `ir2qsm reconstruct` that a client may set, by their names in the command line's arguments: numbers,
switches and words of a list; none of them names a file."""
IN_FOLDER = ("real", "imaginary")
"""Options that name files or series where the field is a folder; else they would be paths."""

INPUT_FILES = ("field", "mask", "echoes", "imaginary", "magnitude", "noise", "csf", "reference", "weights")
"""Options whose files or folders are sent; on the server they lie in the folder of the run."""
RESULTS = ("output", "uncertainty", "mask_output", "unexplained")
"""Options that name a map to write; on the server it is named like its option."""


@dataclass(frozen=True)
class SentFile:
    """One file that is sent."""

    option: str
    """One of `INPUT_FILES`."""
    index: int
    """Which of the option's values it belongs to."""
    path: tuple[str, ...]
    """Its name, or folders and name below the folder that is sent; the first is what the option names."""
    size: int
    """[bytes]"""


@dataclass(frozen=True)
class RunRequest:
    """A run: options, files in the order in which their bytes follow, and suffixes of the maps to make."""

    options: Mapping[str, Any]
    files: tuple[SentFile, ...]
    results: Mapping[str, str]
    keep: bool = False
    """Whether the intermediates are wanted, too."""

    def to_json(self) -> bytes:
        """One line for the head of a request."""
        return json.dumps(asdict(self)).encode("ascii") + b"\n"

    @classmethod
    def from_json(cls, text: bytes) -> RunRequest:
        """The request in the head of a body; raises ParameterInvalid for anything that is not one."""
        try:
            content = json.loads(text)
            files = tuple(
                SentFile(_text(f["option"]), _whole(f["index"]), tuple(map(_text, f["path"])), _whole(f["size"]))
                for f in content["files"]
            )
            options, results, keep = dict(content["options"]), dict(content["results"]), content["keep"]
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise ParameterInvalid(
                "The request is no description of a run; use ir2qsm reconstruct --server."
            ) from error
        request = cls(options, files, results, keep is True)
        request.check()
        return request

    def check(self) -> None:
        """Raise ParameterInvalid for options, names of files or results that a server does not accept."""
        is_folder = any(file.option == "field" and len(file.path) > 1 for file in self.files)
        for name, value in self.options.items():
            self._words(name, value)
            if name in IN_FOLDER and not is_folder:
                raise ParameterInvalid(f"{_option(name)} goes with the folder of a scan; leave it out.", name)
        if not 1 <= len(self.files) <= MAX_FILES:
            raise ParameterInvalid(f"{len(self.files)} files were sent; expected 1 to {MAX_FILES}.", option="field")
        places = set()
        for file in self.files:
            if file.option not in INPUT_FILES or not 0 <= file.index < MAX_NUMBERS or file.size < 0:
                raise ParameterInvalid("A file was sent for no input of a run; use ir2qsm reconstruct --server.")
            if not 1 <= len(file.path) <= 32 or not all(map(is_plain_name, file.path)):
                raise ParameterInvalid("A file has a name that cannot be used; rename it.", option=file.option)
            places.add((file.option, file.index, file.path))
        if len(places) < len(self.files) or not any(f.option == "field" for f in self.files):
            raise ParameterInvalid("A file was sent twice, or no field; use ir2qsm reconstruct --server.")
        for option, suffix in self.results.items():
            if option not in RESULTS or suffix not in VOLUME_SUFFIXES:
                raise ParameterInvalid(
                    "A result was asked for that a run does not have; use ir2qsm reconstruct --server."
                )
        if "output" not in self.results:
            raise ParameterInvalid("No map was asked for; name it with -o.", option="output")

    def arguments(self, inputs: Path, results: Path) -> list[str]:
        """The words of `ir2qsm reconstruct`, its files below `inputs` and its results below `results`."""
        named: dict[str, dict[int, Path]] = {}
        for file in self.files:
            named.setdefault(file.option, {}).setdefault(file.index, place_of(file, inputs, depth=1))
        paths = {option: [str(by_index[n]) for n in sorted(by_index)] for option, by_index in named.items()}
        words = ["reconstruct", *paths.pop("field"), *paths.pop("mask", [])]
        for option, values in paths.items():
            words += [_option(option), *values]
        for option, suffix in self.results.items():
            words += [_option(option), str(results / f"{option}{suffix}")]
        if self.keep:
            words += ["--keep", str(results / "keep")]
        for name, value in self.options.items():
            words += [_option(name), *self._words(name, value)]
        return words

    def _words(self, name: str, value: Any) -> list[str]:
        if name not in SAFE_OPTIONS:
            shown = name if name.isidentifier() and len(name) < 64 else "An option"
            raise ParameterInvalid(f"{shown} cannot be set on a server; leave it out.")
        try:
            return SAFE_OPTIONS[name](value)
        except (ValueError, ArithmeticError, TypeError) as error:
            expected = str(error) if isinstance(error, ValueError) else "another value"
            raise ParameterInvalid(
                f"{_option(name)} came with a value of another kind; expected {expected}.", name
            ) from error


def is_plain_name(name: str) -> bool:
    """Whether a text is the name of one file or folder, and nothing that leads elsewhere."""
    try:
        n_bytes = len(name.encode())
    except UnicodeEncodeError:
        return False
    is_one_part = Path(name).name == name and "\\" not in name and "/" not in name
    return is_one_part and name not in ("", ".", "..") and name.isprintable() and n_bytes <= 255


def place_of(file: SentFile, inputs: Path, depth: int | None = None) -> Path:
    """Where a file lies on the server; with `depth` the first names of its path only."""
    return inputs.joinpath(f"{file.option}-{file.index}", *file.path[:depth])


def _option(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError
    return value


def _whole(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError
    return value


def total_size(files: Sequence[SentFile]) -> int:
    """Bytes of all files together."""
    return sum(file.size for file in files)
