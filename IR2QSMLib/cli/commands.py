"""What the commands of `ir2qsm` share: the parser, its errors, progress, cancellation, answers."""

from __future__ import annotations

import argparse
import json
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
    """A parser whose errors are those of the library, and name their option."""

    def error(self, message: str) -> NoReturn:
        raise ParameterInvalid(f"{message}; see: {self.prog} --help.", option=_option_in(message))


def _option_in(message: str) -> str | None:
    """The option that argparse complains of: the long name of a flag, or that of a positional argument."""
    named = re.search(r"(?:argument|required:) (?:-\w/)?(?:--)?([A-Za-z][\w-]*)", message)
    named = named or re.search(r"--([a-z][\w-]*)", message)
    return named[1].lower().replace("-", "_") if named else None


def add_common_options(parser: argparse.ArgumentParser) -> None:
    """Progress and cancellation, which every command has."""
    parser.add_argument("--progress", choices=MODES, default="bar")
    parser.add_argument(
        "--cancel-file",
        type=Path,
        metavar="PATH",
        help="the run ends when this file appears, with - when standard input ends",
    )


def add_json_option(parser: argparse.ArgumentParser) -> None:
    """The choice between an answer for people and one for programs."""
    parser.add_argument("--json", action="store_true", help="one JSON object on standard output")


def answer_as_asked(args: argparse.Namespace, console: Console, answer: dict[str, Any]) -> Answer:
    """The answer for the worker's protocol with `--json`; else it is printed line by line."""
    if args.json:
        return answer
    for key, value in answer.items():
        console.say(f"{key}: {value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)}")
    return None


def make_folder(path: Path) -> None:
    """Make a folder for results; raises OutputUnwritable."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputUnwritable(
            f"The folder '{path.name}' cannot be made ({error.strerror}); choose another place for it.", option="output"
        ) from error
