"""`ir2qsm demo`: a simulated brain, its maps, a figure and a table."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from IR2QSMLib.cli.commands import Answer, Command, make_folder

if TYPE_CHECKING:
    from IR2QSMLib.cli.console import Console


def _add_options(p: argparse.ArgumentParser) -> None:
    p.add_argument("-o", "--output", type=Path, default=Path("demo"), metavar="FOLDER")


def _run(args: argparse.Namespace, console: Console) -> Answer:
    from IR2QSMLib.evaluation.demo import demo

    make_folder(args.output)
    console.say(demo(args.output, args.device, console.progress))
    console.say(f"Maps and the figure demo.png are in the folder '{args.output}'.")
    return {"folder": str(args.output), "warnings": []}


COMMAND = Command(
    "demo", "simulate a brain and reconstruct it: maps, a figure, a table", _add_options, _run, device=True
)
