"""The command `ir2qsm`: which command runs; everything heavy is imported by the command that needs it."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from IR2QSMLib.cli import (
    benchmark,
    calibrate,
    compare,
    demo,
    export,
    fieldmap,
    import_weights,
    info,
    inspect,
    reconstruct,
    report,
    send,
    serve,
    simulate,
    train,
)
from IR2QSMLib.cli.commands import Answer, Parser, add_common_options
from IR2QSMLib.cli.console import MODES, Console
from IR2QSMLib.cli.streams import flush_standard_streams, open_standard_streams
from IR2QSMLib.core.version import __version__

MODULES = (
    reconstruct,
    fieldmap,
    compare,
    report,
    export,
    send,
    simulate,
    demo,
    benchmark,
    train,
    calibrate,
    import_weights,
    serve,
    inspect,
    info,
)
COMMANDS = {module.COMMAND.name: module.COMMAND for module in MODULES}


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command.

    Parameters
    ----------
    argv
        The words after `ir2qsm`; None takes those of the process.

    Returns
    -------
    int
        The exit code: 0 done, 1 a fault of the program, 2 bad input, 3 cancelled.
    """
    open_standard_streams()
    words = sys.argv[1:] if argv is None else list(argv)
    console = _console(words)
    try:
        return console.run(lambda: _run(words, console))
    finally:
        flush_standard_streams()


def parser(command: str | None) -> Parser:
    """The parser of all commands, with the options only of the one that is to run: those of methods load torch."""
    top = Parser("ir2qsm", description="Susceptibility maps. Research software, not for diagnosis.")
    top.add_argument("--version", action="version", version=f"ir2qsm {__version__}")
    commands = top.add_subparsers(required=True, metavar="COMMAND", dest="command", parser_class=Parser)
    for name, entry in COMMANDS.items():
        description = f"{entry.sentence[0].upper()}{entry.sentence[1:]}."
        p = commands.add_parser(name, help=entry.sentence, description=description)
        add_common_options(p)
        if entry.device:
            p.add_argument("--device", default="auto", metavar="auto|cpu|cuda|mps")
        if name == command:
            entry.add_options(p)
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
