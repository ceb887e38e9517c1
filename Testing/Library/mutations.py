"""Faults in files, made by a seeded generator, and what every command must keep in spite of them."""

from __future__ import annotations

import contextlib
import io
import random
import time
from dataclasses import dataclass, field
from pathlib import Path

from IR2QSMLib.cli.main import main

WORDS = (b"0", b"-1", b"nan", b"1e400", b"99999999", b"\xff\xfe", b"", b'"', b"{", b"[]", b"null", b"true", b"left")
OLD = b"an older result"
LONGEST = 60.0
"""Seconds of computing that no small file may take."""


def mutated(content: bytes, places: int, chance: random.Random) -> bytes:
    """One to four faults in the first bytes, or the file cut or prolonged."""
    data = bytearray(content)
    for _ in range(chance.randint(1, 4)):
        data = data or bytearray(b"\0")
        place, kind = chance.randrange(places), chance.randrange(6)
        if kind == 0:
            data[place % len(data)] = chance.randrange(256)
        elif kind == 1:
            word = chance.choice(WORDS)
            data[place : place + len(word)] = word
        elif kind == 2:
            del data[place : place + chance.randint(1, 8)]
        elif kind == 3 and chance.random() < 0.3:
            data = data[: chance.randrange(len(data) + 1)]
        elif kind == 4:
            data[place:place] = chance.choice(WORDS)
        else:  # one bit, or another number of the same place
            place %= len(data)
            data[place] ^= 1 << chance.randrange(8)
    return bytes(data)


@dataclass
class Trials:
    """Runs commands in this process, beside an older result which only a new one may replace."""

    folder: Path
    output: str = "chi.nii"
    codes: dict[int, int] = field(default_factory=dict)
    """How many runs ended with each exit code."""
    n_read: int = 0
    """How many files could be read."""
    messages: set[str] = field(default_factory=set)

    def run(self, *words: object) -> int:
        """Run a command that writes the output, and require what holds for every one; returns its exit code."""
        output = self.folder / self.output
        sidecar = output.with_suffix(".json")
        output.write_bytes(OLD)
        sidecar.unlink(missing_ok=True)
        code, _ = self.try_command(*words, "-o", output)
        if code:
            assert output.read_bytes() == OLD and not sidecar.exists(), "an older result was lost"
        else:
            assert output.read_bytes() != OLD and sidecar.exists(), "no result was written"
        return code

    def try_command(self, *words: object) -> tuple[int, str]:
        """Run a command: 0 or 2, at most one sentence of error, no file left over, no minute of computing."""
        before = {p.name for p in self.folder.iterdir()}
        out, err = io.StringIO(), io.StringIO()
        start = time.process_time()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = main([str(word) for word in words])
        said = err.getvalue()
        self.codes[code] = self.codes.get(code, 0) + 1
        assert time.process_time() - start < LONGEST, "it took a minute"
        assert code in (0, 2) and "Traceback" not in said, said
        if code:
            assert said.startswith("ir2qsm: ") and said.endswith(".\n") and said.count("\n") == 1, said
            self.messages.add(said)
        else:
            assert all(line.startswith("warning: ") for line in said.splitlines()), said
        left = {p.name for p in self.folder.iterdir()} - before - {Path(self.output).with_suffix(".json").name}
        assert code == 0 or not left, f"left over: {left}"
        assert not any(name.startswith(".") for name in left), f"left over: {left}"
        return code, said
