"""The table of inputs names options that exist, names all options that say what an input is, and is linked."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from IR2QSMLib.cli.main import parser

ROOT = Path(__file__).resolve().parents[3]
TABLE = (ROOT / "docs" / "inputs.md").read_text(encoding="utf-8")
WITHOUT_INPUT = {
    "--help",
    "--progress",
    "--cancel-file",
    "--device",
    "--output",
    "--keep",
    "--reference",
    "--csf",
    "--unwrapping",
    "--background",
    "--completion-steps",
}
"""Options of both commands that say what is done, not what the input is."""


def options_of(command: str, capsys: pytest.CaptureFixture[str]) -> set[str]:
    with pytest.raises(SystemExit):
        parser(command).parse_args([command, "--help"])
    return set(re.findall(r"(?<![\w-])--[a-z0-9][a-z0-9-]*", capsys.readouterr().out))


def test_every_option_of_the_table_exists_and_no_option_of_an_input_is_missing(
    capsys: pytest.CaptureFixture[str],
) -> None:
    named = set(re.findall(r"`(--[a-z0-9-]+)", TABLE))
    reconstruct, fieldmap = options_of("reconstruct", capsys), options_of("fieldmap", capsys)
    assert named and named <= reconstruct
    assert (reconstruct & fieldmap) - WITHOUT_INPUT - {"--recover"} <= named


@pytest.mark.parametrize("page", ["README.md", "docs/index.md", "docs/phase.md"])
def test_the_table_is_linked(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    assert re.search(r"\(docs/inputs\.md\)|\(inputs\.md\)|^inputs$", text, re.MULTILINE)
