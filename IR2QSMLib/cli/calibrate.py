"""`ir2qsm calibrate`: a network's uncertainty fitted to its errors."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from IR2QSMLib.cli.commands import Answer, Command

if TYPE_CHECKING:
    from IR2QSMLib.cli.console import Console


def _add_options(p: argparse.ArgumentParser) -> None:
    p.add_argument("weights", type=Path, help="a network that gives an uncertainty, calibrated before or not")
    p.add_argument(
        "-o", "--output", type=Path, required=True, metavar="FILE", help="safetensors file; its card goes beside it"
    )


def _run(args: argparse.Namespace, console: Console) -> Answer:
    from IR2QSMLib.core.devices import keep_freed_memory
    from IR2QSMLib.io.outputs import check_writable
    from IR2QSMLib.training.calibrate import calibrate

    keep_freed_memory()
    check_writable(args.output, (".safetensors",))
    with console.outputs as outputs:
        card = calibrate(
            outputs, args.weights, args.output, device=args.device, progress=console.progress, emit=console.say
        )
    console.say(f"{args.output.name}: sha256 {card['sha256']}")
    return {"weights": str(args.output), "warnings": []}


COMMAND = Command(
    "calibrate", "fit a network's uncertainty to its errors on simulated heads", _add_options, _run, device=True
)
