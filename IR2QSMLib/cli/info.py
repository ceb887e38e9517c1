"""`ir2qsm info`: versions, methods with their options, devices that work, and weights."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from IR2QSMLib.cli.commands import Answer, Command, add_json_option, answer_as_asked

if TYPE_CHECKING:
    from IR2QSMLib.cli.console import Console


def _run(args: argparse.Namespace, console: Console) -> Answer:
    from IR2QSMLib.cli.installation import information

    return answer_as_asked(args, console, information())


COMMAND = Command(
    "info", "list versions, methods with their options, devices that work, and weights", add_json_option, _run
)
