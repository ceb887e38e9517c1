"""What every command of `ir2qsm` has: its place in the parser, progress, cancellation, a device."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from IR2QSMLib.cli.console import MODES, Console
from IR2QSMLib.core.errors import OutputUnwritable, ParameterInvalid

Answer = dict[str, Any] | None
"""What a command says in the worker's protocol when it is done."""


@dataclass(frozen=True)
class Command:
    """One command: its sentence, its options and its work."""

    name: str
    sentence: str
    """Lower case, without a full stop."""
    add_options: Callable[[argparse.ArgumentParser], None]
    run: Callable[[argparse.Namespace, Console], Answer]
    device: bool = False
    """Whether it runs on a device that can be chosen."""


class Parser(argparse.ArgumentParser):
    """A parser whose complaints are errors like any other."""

    def error(self, message: str) -> NoReturn:
        named = re.search(r"--([a-z][a-z0-9-]*)", message)
        option = named[1].replace("-", "_") if named else None
        raise ParameterInvalid(f"{message}; see: {self.prog} --help.", option=option)


def add_common_options(parser: argparse.ArgumentParser) -> None:
    """Progress and cancellation, which every command has."""
    parser.add_argument("--progress", choices=MODES, default="bar")
    parser.add_argument("--cancel-file", type=Path, metavar="PATH", help="the run ends when this file appears")


def make_folder(path: Path) -> None:
    """Make a folder for results; raises OutputUnwritable."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputUnwritable(
            f"The folder '{path.name}' cannot be made ({error.strerror}); choose another place for it.", option="output"
        ) from error
