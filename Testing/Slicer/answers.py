"""Answers of `ir2qsm info` and `inspect`: a worker gives each once a session, and a quick process repeats it."""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

REPEATED = ("info", "inspect")
"""Commands whose answer depends on nothing but their files, options and environment."""
REPEAT = "import sys; sys.stdout.buffer.write(open(sys.argv[1], 'rb').read())"
CHANGING = ("PYTEST_CURRENT_TEST",)
"""Variables of the environment that no answer depends on."""


class Answers:
    """`slicer.util.launchConsoleProcess`, which loads the library anew only for questions that it did not see before.

    Parameters
    ----------
    launch
        The function that starts a process.
    folder
        Where answers are kept.
    """

    def __init__(self, launch: Callable[..., Any], folder: Path) -> None:
        self._launch, self._folder = launch, folder

    def __call__(self, args: Sequence[str], *, blocking: bool = True, **settings: Any) -> Any:
        """Start a process, or one that prints what the same question was answered."""
        question = None if blocking else self._question(args, settings)
        if question is None:
            return self._launch(args, blocking=blocking, **settings)
        answer = self._folder / question
        if answer.exists():
            return self._launch([sys.executable, "-I", "-S", "-c", REPEAT, str(answer)], blocking=False, **settings)
        return self._launch(args, blocking=False, **_recording(answer, settings))

    def _question(self, args: Sequence[str], settings: dict[str, Any]) -> str | None:
        """A digest of command, files and environment; None for what is run each time."""
        command = args[args.index("IR2QSMLib") + 1 :] if "IR2QSMLib" in args else []
        if not command or command[0] not in REPEATED:
            return None
        environment = {k: v for k, v in os.environ.items() if k not in CHANGING} | settings["updateEnvironment"]
        digest = hashlib.sha256(repr((args[0], sorted(environment.items()))).encode())
        for word in command:
            path = Path(word)
            if path.is_dir():
                return None
            if not path.is_file():
                digest.update(repr(word).encode())
                continue
            for file in (path, path.with_suffix(".json")):
                digest.update(file.read_bytes() if file.is_file() else b"none")
        return digest.hexdigest()


def _recording(answer: Path, settings: dict[str, Any]) -> dict[str, Any]:
    """The settings of a process whose lines are also written to a file when it ends well."""
    lines: list[str] = []

    def log(line: str) -> None:
        lines.append(line)
        settings["logCallback"](line)

    def completed(code: int) -> None:
        if code == 0:
            answer.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
        settings["completedCallback"](code)

    return {**settings, "logCallback": log, "completedCallback": completed}
