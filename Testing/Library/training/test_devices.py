"""`ir2qsm train` as it is called: in a process of its own, resumed, and on two devices through Lightning Fabric."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from IR2QSMLib.inversion.learned.load import load

ROOT = Path(__file__).resolve().parents[3]
# The command line with small heads in place of whole ones; Fabric starts this very file again for each device.
# What each rank drew and what it ended with is noted beside it.
PROGRAM = """
import json, os, sys
from pathlib import Path

from IR2QSMLib.training import run as training
from IR2QSMLib.training import data as training_data
from IR2QSMLib.training import patches as training_patches
from IR2QSMLib.training import validation as training_validation
from IR2QSMLib.core.grid import Grid
from IR2QSMLib.simulation.acquisition import Discrepancy
from IR2QSMLib.simulation.random_source import Dice
from IR2QSMLib.simulation.shapes import draw_shapes

def validation_cases(device):
    dice = Dice(900, device)
    return [(draw_shapes(dice, Grid((24, 24, 24), (1.5, 1.5, 1.5))), Discrepancy(40.0), dice)]

rank, drawn, ends = os.environ.get("LOCAL_RANK", "0"), [], []
draw_round, save = training_data.draw_round, training.Run._save

def noted_round(reads, feed, number, device, rank=0, n_ranks=1, **options):
    for batch in draw_round(reads, feed, number, device, rank, n_ranks, **options):
        if feed.seed < 500:
            drawn.append([number, rank, n_ranks, float(batch.values.double().sum())])
        yield batch

def noted_save(run):
    save(run)
    ends.append([run.step, sum(float(p.detach().double().abs().sum()) for p in run.network.parameters())])
    note = {"drawn": drawn, "ends": ends, "elapsed": run.elapsed}
    Path(__file__).with_name(f"rank{rank}.json").write_text(json.dumps(note))

training_data.SHAPES, training_data.draw_brain = ((32, 32, 32),), draw_shapes
training_validation.validation_cases = validation_cases
training_patches.draw_round, training.Run._save = noted_round, noted_save

from IR2QSMLib.cli.main import main
sys.exit(main())
"""
SIZES = [
    "--width",
    "0.125",
    "--passes",
    "2",
    "--patch",
    "24",
    "--batch",
    "2",
    "--heads",
    "1",
    "--patches",
    "2",
    "--reads",
    "both",
    "--device",
    "cpu",
]


def train(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run `ir2qsm train` from the program in `folder`."""
    program = folder / "program.py"
    program.write_text(PROGRAM, encoding="utf-8")
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("LOCAL_", "MASTER_", "NODE_", "WORLD_"))}
    environment |= {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [sys.executable, str(program), "train", *arguments],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=120,
        check=False,
    )


def log_of(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "log.jsonl").read_text(encoding="utf-8").splitlines()]


def note_of(folder: Path, rank: int) -> dict[str, Any]:
    note: dict[str, Any] = json.loads((folder / f"rank{rank}.json").read_text(encoding="utf-8"))
    return note


def test_the_command_trains_in_sittings_and_resumes(tmp_path: Path) -> None:
    run = tmp_path / "run"
    first = train(tmp_path, "run", "--minutes", "0.25", "--sitting", "0.12", *SIZES)
    assert first.returncode == 0, first.stderr
    before = json.loads((run / "weights.json").read_text(encoding="utf-8"))
    assert before["steps"] > 0 and 0.0 < before["minutes"] <= 0.12
    assert before["config"]["width"] == 0.125 and before["reading"]["reads"] == "both"
    second = train(tmp_path, "--resume", "run", "--minutes", "0.25", "--progress", "json")
    assert second.returncode == 0, second.stderr
    after = json.loads((run / "weights.json").read_text(encoding="utf-8"))
    assert after["steps"] > before["steps"] and before["minutes"] < after["minutes"] <= 0.25
    assert after["recipe"] == before["recipe"]  # though not a word of it was said again
    rounds = [line["round"] for line in log_of(run) if "loss" in line]
    assert rounds == list(range(1, after["steps"] + 1))
    assert load(run / "weights.safetensors").sha256 == after["sha256"]
    assert json.loads(second.stdout.splitlines()[-1])["event"] == "result"
    assert "xsim" in first.stdout


def test_what_cannot_be_resumed_is_refused(tmp_path: Path) -> None:
    done = train(tmp_path, "--resume", "nothing", "--minutes", "1", "--progress", "json")
    assert done.returncode == 2
    assert json.loads(done.stdout)["message"] == "There is no run in 'nothing' to resume; give the folder of one."


def test_a_folder_with_a_run_is_not_trained_over(ir2qsm: Callable[..., Any], tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "recipe.json").write_text("{}", encoding="utf-8")
    ran = ir2qsm("train", tmp_path / "run", "--minutes", 1)
    assert (ran.code, ran.out) == (2, "")
    assert ran.err == "ir2qsm: There is a run in 'run' already; go on with it with --resume.\n"
    assert [p.name for p in (tmp_path / "run").iterdir()] == ["recipe.json"]


def test_two_devices_train_one_network(tmp_path: Path) -> None:
    began = time.monotonic()
    done = train(tmp_path, "run", "--minutes", "0.15", "--devices", "2", *SIZES)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("xsims") == 1  # of the two processes one speaks
    assert time.monotonic() - began < 60 * 0.15 + 60  # the rest is two interpreters that start
    notes = [note_of(tmp_path, rank) for rank in range(2)]
    assert all(0.0 < note["elapsed"] <= 60 * 0.15 for note in notes)
    n_steps = notes[0]["ends"][-1][0]
    assert n_steps >= 2
    # Each rank has its own heads for the same number of steps, and both end with the very same network.
    drawn = [note["drawn"] for note in notes]
    assert [len(d) for d in drawn] == [n_steps, n_steps]
    assert all(d[1] == rank and d[2] == 2 for rank in range(2) for d in drawn[rank])
    assert {d[3] for d in drawn[0]}.isdisjoint(d[3] for d in drawn[1])
    assert notes[0]["ends"][-1] == notes[1]["ends"][-1]
    assert notes[0]["ends"][-1][1] != notes[0]["ends"][0][1]
    # One log, which counts the patches of both.
    log = log_of(tmp_path / "run")
    assert [line["round"] for line in log if "loss" in line] == list(range(1, n_steps + 1))
    seconds = 2 * 2 * log[-1]["step"] / log[-1]["patches_per_second"]
    assert seconds == pytest.approx(60 * log[-1]["minutes"], abs=0.4)
    card = json.loads((tmp_path / "run" / "weights.json").read_text(encoding="utf-8"))
    assert card["steps"] == n_steps and load(tmp_path / "run" / "weights.safetensors").sha256 == card["sha256"]
    state = torch.load(tmp_path / "run" / "checkpoint.pt", weights_only=True)
    assert state["step"] == n_steps and not any(key.startswith("module") for key in state["network"])
