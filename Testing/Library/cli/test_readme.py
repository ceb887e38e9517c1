"""The examples of README and documentation are run as they stand, and the README's pictures and pages exist."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
import torch

from IR2QSMLib.cli.main import main
from IR2QSMLib.io.outputs import Outputs
from IR2QSMLib.simulation.cases import Case, simulate, write_case

ROOT = Path(__file__).resolve().parents[3]
README = (ROOT / "README.md").read_text(encoding="utf-8")
COMPARING = (ROOT / "docs" / "comparing.md").read_text(encoding="utf-8")
NETWORKS = (ROOT / "docs" / "networks.md").read_text(encoding="utf-8")


def blocks(language: str, text: str = README) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)


@pytest.fixture(scope="module")
def head(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("readme")
    truth, field = simulate(Case(0, 40.0, (40, 48, 40), (2.0, 2.0, 2.0), phantom=True))
    with Outputs() as outputs:
        write_case(outputs, folder, truth, field)
    return folder


def test_the_python_examples_run(head: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(head)
    first, second = blocks("python")
    names: dict[str, object] = {}
    exec(first, names)
    assert (head / "chi.nii.gz").exists() and (head / "chi.json").exists()
    mask = torch.ones(24, 24, 24)
    names = {"field": 3.0 * torch.randn(24, 24, 24).numpy(), "mask": mask.numpy()}
    exec(second, names)
    assert getattr(names["chi"], "shape", None) == (24, 24, 24)


@pytest.mark.long
def test_lpcnn_is_better_from_two_orientations_than_from_either() -> None:
    (example,) = blocks("python", NETWORKS)
    names: dict[str, dict[str, tuple[float, float]]] = {}
    exec(example, names)
    axial, tilted, both = (names["scores"][k] for k in ("axial", "tilted", "both"))
    assert both[0] > max(axial[0], tilted[0]) + 0.02 and both[1] < min(axial[1], tilted[1]) - 3.0


@pytest.mark.parametrize("text", [README, COMPARING], ids=["README", "comparing"])
def test_the_shell_examples_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.chdir(tmp_path)
    (shell,) = blocks("sh", text)
    lines = [line for line in shell.splitlines() if line.strip()]
    assert len(lines) >= 4
    for line in lines:
        program, *arguments = shlex.split(line)
        assert program == "ir2qsm"
        assert main(arguments) == 0, line


def test_every_link_into_the_repository_leads_somewhere() -> None:
    links = [link for link in re.findall(r"\]\(([^)]+)\)", README) if not link.startswith("http")]
    assert len(links) > 5
    for link in links:
        path, _, anchor = link.partition("#")
        assert (ROOT / path).exists(), link
        if anchor:
            headings = re.findall(r"^#+ (.+)$", (ROOT / path).read_text(encoding="utf-8"), re.MULTILINE)
            assert anchor in [re.sub(r"[^\w -]", "", h).lower().replace(" ", "-") for h in headings], link
