"""`ir2qsm inspect` and `ir2qsm info`: what an image is, and what an installation is."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from IR2QSMLib.cli.commands import Answer, Command
from IR2QSMLib.cli.fieldmap import acquisition_table

if TYPE_CHECKING:
    from IR2QSMLib.cli.console import Console


def _add_inspect_options(p: argparse.ArgumentParser) -> None:
    p.add_argument("image", type=Path)
    p.add_argument("mask", type=Path, nargs="?")
    p.add_argument("--series", type=int, nargs="+", metavar="N", help="numbers of the DICOM series meant")
    _add_json_option(p)


def _add_json_option(p: argparse.ArgumentParser) -> None:
    p.add_argument("--json", action="store_true", help="one JSON object on standard output")


def _inspect(args: argparse.Namespace, console: Console) -> Answer:
    from IR2QSMLib.pipeline.identify import inspect

    answer = inspect(args.image, args.mask, args.series)
    if not args.json:
        for line in acquisition_table(answer.pop("images", [])):
            console.say(line)
    return _answer(args, console, answer)


def _info(args: argparse.Namespace, console: Console) -> Answer:
    from IR2QSMLib.cli.info import information

    return _answer(args, console, information())


def _answer(args: argparse.Namespace, console: Console, answer: dict[str, Any]) -> Answer:
    """The answer as JSON, or said to a person line by line."""
    if args.json:
        return answer
    for key, value in answer.items():
        console.say(f"{key}: {value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)}")
    return None


INSPECT = Command("inspect", "say what an image seems to be", _add_inspect_options, _inspect)
INFO = Command(
    "info", "list versions, methods with their options, devices that work, and weights", _add_json_option, _info
)
