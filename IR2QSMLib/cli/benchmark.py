"""`ir2qsm benchmark`: every method on the held-out cases, on measured fields, and the way from phase."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from IR2QSMLib.cli.commands import Answer, Command
from IR2QSMLib.core.errors import ParameterInvalid

if TYPE_CHECKING:
    from IR2QSMLib.cli.console import Console


def _add_options(p: argparse.ArgumentParser) -> None:
    p.add_argument("--cases", nargs="+", metavar="NAME", help="only these")
    p.add_argument("--methods", nargs="+", metavar="NAME", help="only these, with all their settings")
    p.add_argument("--weights", type=Path, metavar="FILE")
    p.add_argument("--sweep", action="store_true", help="also tv and medi at their best fixed strengths: slow")
    p.add_argument("--no-speed", action="store_true", help="leave out how long transforms and the inference take")
    p.add_argument(
        "--measured",
        type=Path,
        nargs="+",
        metavar="FOLDER",
        help="only measured fields that come with a reference map, each folder laid out as QSM-CI's contract",
    )
    p.add_argument("--phase", action="store_true", help="only the way from phase to local field, and its costs")
    p.add_argument("--quality", action="store_true", help="only the lights of 'ir2qsm report', on planted faults")


def _run(args: argparse.Namespace, console: Console) -> Answer:
    from IR2QSMLib.core.devices import keep_freed_memory
    from IR2QSMLib.evaluation.benchmark import benchmark
    from IR2QSMLib.evaluation.measured_benchmark import benchmark_measured
    from IR2QSMLib.evaluation.phase_benchmark import phase_benchmark
    from IR2QSMLib.evaluation.quality_benchmark import quality_benchmark

    keep_freed_memory()
    if args.quality:
        quality_benchmark(progress=console.progress, emit=console.say)
        return {"warnings": []}
    if args.measured:
        if args.cases or args.phase or args.sweep:
            raise ParameterInvalid("--measured came with --cases, --phase or --sweep; run them one after the other.")
        benchmark_measured(
            args.measured,
            methods=args.methods,
            weights=args.weights,
            device=args.device,
            progress=console.progress,
            emit=console.say,
        )
        return {"warnings": []}
    if not args.phase:
        benchmark(
            args.cases,
            methods=args.methods,
            weights=args.weights,
            device=args.device,
            sweep=args.sweep,
            speed=not args.no_speed,
            progress=console.progress,
            emit=console.say,
        )
    if args.phase or not (args.cases or args.methods or args.no_speed):
        phase_benchmark(device=args.device, emit=console.say)
    return {"warnings": []}


COMMAND = Command("benchmark", "score every method on the held-out cases", _add_options, _run, device=True)
