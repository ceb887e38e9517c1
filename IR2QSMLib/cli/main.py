"""The command `ir2qsm`: which command runs; everything heavy is imported by the command that needs it."""

from __future__ import annotations

import io
import sys
from collections.abc import Sequence
from pathlib import Path

from IR2QSMLib.cli import benchmark, compare, fieldmap, import_weights, inspect, reconstruct, simulate, train
from IR2QSMLib.cli.commands import Answer, Parser, add_common_options
from IR2QSMLib.cli.console import MODES, Console
from IR2QSMLib.core.version import __version__

COMMANDS = {
    command.name: command
    for command in (
        reconstruct.COMMAND,
        fieldmap.COMMAND,
        compare.COMMAND,
        simulate.SIMULATE,
        simulate.DEMO,
        benchmark.COMMAND,
        train.TRAIN,
        train.CALIBRATE,
        import_weights.COMMAND,
        inspect.INSPECT,
        inspect.INFO,
    )
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; 0 done, 2 bad input, 3 cancelled, 1 our fault."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a terminal that lacks χ and λ still gets the help
    words = sys.argv[1:] if argv is None else list(argv)
    console = _console(words)
    return console.run(lambda: _run(words, console))


def parser(command: str | None) -> Parser:
    """The parser of all commands, with the options of the one that is to run: those of methods load torch."""
    top = Parser("ir2qsm", description="Susceptibility maps. Research software, not for diagnosis.")
    top.add_argument("--version", action="version", version=f"ir2qsm {__version__}")
    commands = top.add_subparsers(required=True, metavar="COMMAND", dest="command", parser_class=Parser)
    for name, spec in COMMANDS.items():
        description = f"{spec.sentence[0].upper()}{spec.sentence[1:]}."
        p = commands.add_parser(name, help=spec.sentence, description=description)
        add_common_options(p)
        if spec.device:
            p.add_argument("--device", default="auto", metavar="auto|cpu|cuda|mps")
        if name == command:
            spec.add_options(p)
    return top


def _run(words: list[str], console: Console) -> Answer:
    command = next((word for word in words if word in COMMANDS), None)
    args = parser(command).parse_args(words)
    return COMMANDS[args.command].run(args, console)


def _console(words: list[str]) -> Console:
    """Progress and cancellation as the words ask for, before they are parsed: parsing may load torch."""
    early = Parser(add_help=False, allow_abbrev=False)
    early.add_argument("--progress", default="bar")
    early.add_argument("--cancel-file", type=Path)
    early.add_argument("--json", action="store_true")
    try:
        known, _ = early.parse_known_args(words)
    except Exception:  # the command's own parser says what is wrong
        return Console("json" if "--json" in words or "json" in words else "none")
    mode = "json" if known.json else known.progress if known.progress in MODES else "none"
    return Console(mode, known.cancel_file)
