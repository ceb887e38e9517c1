"""`ir2qsm simulate`: a simulated head as files."""

from __future__ import annotations

import argparse
import math
from pathlib import Path
from typing import TYPE_CHECKING

from IR2QSMLib.cli.commands import Answer, Command, make_folder
from IR2QSMLib.core.errors import ParameterInvalid

if TYPE_CHECKING:
    from IR2QSMLib.cli.console import Console


def _add_options(p: argparse.ArgumentParser) -> None:
    p.add_argument("-o", "--output", type=Path, required=True, metavar="FOLDER")
    p.add_argument("--seed", type=int, default=0, help="one head a seed; below 1000000 none was trained on")
    p.add_argument("--snr", type=float, default=40.0, help="power SNR of the field; inf for none")
    p.add_argument("--shape", type=int, nargs=3, default=(160, 192, 160), metavar=("X", "Y", "Z"))
    p.add_argument("--voxel-size", type=float, nargs=3, default=(1.0, 1.0, 1.0), metavar=("X", "Y", "Z"), help="[mm]")
    p.add_argument("--tilt", type=float, default=0.0, help="angle between B0 and the slices' normal [degrees]")
    p.add_argument("--phantom", action="store_true", help="a geometric phantom in place of a brain")


def _run(args: argparse.Namespace, console: Console) -> Answer:
    from IR2QSMLib.simulation.cases import Case, simulate, write_case

    if not args.snr > 0.0:
        raise ParameterInvalid(f"The power SNR is {args.snr:g}; expected a positive number, or inf.", option="snr")
    if not 0 <= args.seed < 2**63:
        raise ParameterInvalid(f"The seed is {args.seed}; expected a whole number from 0 to 2^63 - 1.", option="seed")
    if not math.isfinite(args.tilt):
        raise ParameterInvalid(f"The tilt is {args.tilt:g} degrees; expected a finite number.", option="tilt")
    case = Case(args.seed, args.snr, tuple(args.shape), tuple(args.voxel_size), args.tilt, args.phantom)
    console.progress(0.0, "simulating")
    head, field = simulate(case)
    make_folder(args.output)
    with console.outputs as outputs:
        write_case(outputs, args.output, head, field)
        console.progress(1.0, "written")
    return {"folder": str(args.output), "warnings": []}


COMMAND = Command("simulate", "simulate a head: field, mask and true χ", _add_options, _run)
