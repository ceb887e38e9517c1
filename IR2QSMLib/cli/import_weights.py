"""`ir2qsm import-weights`: released checkpoints, converted."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from IR2QSMLib.cli.commands import Answer, Command

if TYPE_CHECKING:
    from IR2QSMLib.cli.console import Console


def _add_options(p: argparse.ArgumentParser) -> None:
    p.add_argument("checkpoint", type=Path, help="model_IR2Unet.pth, LPCNN's .pkl or MoDL-QSM's .h5")
    p.add_argument("-o", "--output", type=Path, metavar="FILE", help="safetensors file; default: beside the checkpoint")


def _run(args: argparse.Namespace, console: Console) -> Answer:
    from IR2QSMLib.inversion.learned.import_released import import_released
    from IR2QSMLib.io.outputs import check_writable

    output = args.output or args.checkpoint.with_suffix(".safetensors")
    check_writable(output, (".safetensors",))
    with console.outputs as outputs:
        card = import_released(outputs, args.checkpoint, output)
    console.say(f"{output.name}: sha256 {card['sha256']}")
    return {"weights": str(output), "warnings": []}


COMMAND = Command("import-weights", "convert a released checkpoint", _add_options, _run)
