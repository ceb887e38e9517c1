"""`ir2qsm inspect`: what an image or a scan seems to be."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from IR2QSMLib.cli.commands import Answer, Command, add_json_option, answer_as_asked
from IR2QSMLib.cli.fieldmap import acquisition_table

if TYPE_CHECKING:
    from IR2QSMLib.cli.console import Console


def _add_options(p: argparse.ArgumentParser) -> None:
    p.add_argument("image", type=Path, help="an image, or the folder of a scan: DICOM or BIDS")
    p.add_argument("mask", type=Path, nargs="?", help="its labels are counted")
    p.add_argument("--series", nargs="+", metavar="NAME", help="the scan meant: DICOM series numbers, or its name")
    add_json_option(p)


def _run(args: argparse.Namespace, console: Console) -> Answer:
    from IR2QSMLib.pipeline.inspection import inspect_image

    answer = inspect_image(args.image, args.mask, args.series)
    if not args.json:
        for line in acquisition_table(answer.pop("images", [])):
            console.say(line)
        answer.pop("phase_scaling", None)  # people read it as a sentence
    return answer_as_asked(args, console, answer)


COMMAND = Command("inspect", "say what an image seems to be", _add_options, _run)
