"""`ir2qsm train` as it is called: in a process of its own, resumed, and on two devices through Lightning Fabric."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from IR2QSMLib.cli.train import COMMAND
from IR2QSMLib.inversion.learned.load import load
from Testing.Library.training.small_runs import checkpoint_of

ROOT = Path(__file__).resolve().parents[3]
# The command line with small heads in place of whole ones, and a clock that advances by one second with each batch.
# Fabric starts this very file again for each device. What each rank drew and ended with is noted beside it.
PROGRAM = """
import json, os, sys
from pathlib import Path

from IR2QSMLib.core.grid import Grid
from IR2QSMLib.simulation.acquisition import Discrepancy
from IR2QSMLib.simulation.random_source import RandomSource
from IR2QSMLib.simulation.shapes import draw_shapes
from IR2QSMLib.training import heads, patch_task, run, validation

def validation_heads(device):
    rng = RandomSource(900, device)
    return [(draw_shapes(rng, Grid((24, 24, 24), (1.5, 1.5, 1.5))), Discrepancy(40.0), rng)]

rank, drawn, ends = os.environ.get("LOCAL_RANK", "0"), [], []
draw_round = patch_task.draw_round

def noted_round(network_input, sampling, number, device, rank=0, n_ranks=1, **options):
    for batch in draw_round(network_input, sampling, number, device, rank, n_ranks, **options):
        if sampling.seed < patch_task.BATCH_NORM_SEED_OFFSET:
            drawn.append([number, rank, n_ranks, float(batch.chi.double().abs().sum())])
        yield batch

class NotedRun(run.TrainingRun):
    def __init__(self, *arguments, **options):
        super().__init__(*arguments, clock=lambda: float(len(drawn)), **options)

    def _save(self):
        super()._save()
        total = sum(float(p.detach().double().abs().sum()) for p in self.network.parameters())
        ends.append([self.step, total])
        note = {"drawn": drawn, "ends": ends, "elapsed": self.timer.elapsed}
        Path(__file__).with_name(f"rank{rank}.json").write_text(json.dumps(note))

heads.SHAPES = ((32, 32, 32),)
heads.draw_brain = heads.draw_folded_brain = lambda rng, grid, **_: draw_shapes(rng, grid)
validation.validation_heads = validation_heads
patch_task.draw_round, run.TrainingRun = noted_round, NotedRun

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
    "--input-channels",
    "field",
    "first_map",
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
    first = train(tmp_path, "run", "--minutes", "0.1", "--sitting", "0.05", *SIZES)
    assert first.returncode == 0, first.stderr
    before = json.loads((run / "weights.json").read_text(encoding="utf-8"))
    assert before["steps"] == 2 and 0.0 < before["minutes"] <= 0.05  # a third step of a second would leave no reserve
    assert before["config"]["width"] == 0.125 and before["recipe"]["network_input"]["channels"] == [
        "field",
        "first_map",
    ]
    second = train(tmp_path, "--resume", "run", "--minutes", "0.1", "--progress", "json")
    assert second.returncode == 0, second.stderr
    after = json.loads((run / "weights.json").read_text(encoding="utf-8"))
    assert after["steps"] > before["steps"] and before["minutes"] < after["minutes"] <= 0.1
    assert after["recipe"] == before["recipe"]  # though none of its options were repeated
    rounds = [line["round"] for line in log_of(run) if "loss" in line]
    assert rounds == list(range(1, after["steps"] + 1))
    assert load(run / "weights.safetensors").sha256 == after["sha256"]
    assert json.loads(second.stdout.splitlines()[-1])["event"] == "result"
    assert "xsim" in first.stdout


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (("--start", "w.safetensors"), ("--initial-weights", "w.safetensors")),
        (("--stock", "cache"), ("--patch-cache", "cache")),
        (("--turns", "2"), ("--rounds-per-set", "2")),
        (("--whole-brain", "0.5"), ("--whole-brain-map-share", "0.5")),
        (("--whole-brains",), ("--whole-heads",)),
        (("--voxel", "1"), ("--voxel-size", "1")),
    ],
)
def test_options_of_version_0_1_0_are_accepted(old: tuple[str, ...], new: tuple[str, ...]) -> None:
    parser = argparse.ArgumentParser()
    COMMAND.add_options(parser)
    common = ["run", "--minutes", "1"]
    assert parser.parse_args([*common, *old]) == parser.parse_args([*common, *new]) != parser.parse_args(common)


def test_what_cannot_be_resumed_is_refused(ir2qsm: Callable[..., Any], tmp_path: Path) -> None:
    ran = ir2qsm("train", "--resume", tmp_path / "nothing", "--minutes", 1, "--progress", "json")
    assert ran.code == 2
    assert ran.events()[-1]["message"] == "There is no run in 'nothing' to resume; give the folder of one."


def test_a_folder_with_a_run_is_not_trained_over(ir2qsm: Callable[..., Any], tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "recipe.json").write_text("{}", encoding="utf-8")
    ran = ir2qsm("train", tmp_path / "run", "--minutes", 1)
    assert (ran.code, ran.out) == (2, "")
    assert ran.err == "ir2qsm: There is a run in 'run' already; go on with it with --resume.\n"
    assert [p.name for p in (tmp_path / "run").iterdir()] == ["recipe.json"]


def test_two_devices_train_one_network(tmp_path: Path) -> None:
    done = train(tmp_path, "run", "--minutes", "0.1", "--devices", "2", *SIZES)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("xsims") == 1  # of the two processes one prints
    notes = [note_of(tmp_path, rank) for rank in range(2)]
    n_steps = notes[0]["ends"][-1][0]
    assert n_steps >= 2
    # The first device's clock decides for both.
    assert notes[0]["elapsed"] == notes[1]["elapsed"] == n_steps <= 6.0
    # Each has its own heads for the same number of steps, and both end with the very same network.
    drawn = [note["drawn"] for note in notes]
    assert [len(d) for d in drawn] == [n_steps, n_steps]
    assert all(d[1] == rank and d[2] == 2 for rank in range(2) for d in drawn[rank])
    assert {d[3] for d in drawn[0]}.isdisjoint(d[3] for d in drawn[1])
    assert notes[0]["ends"][-1] == notes[1]["ends"][-1]
    assert notes[0]["ends"][-1][1] != notes[0]["ends"][0][1]
    # One log, which counts the patches of both: two a step of a second each.
    log = log_of(tmp_path / "run")
    assert [line["round"] for line in log if "loss" in line] == list(range(1, n_steps + 1))
    assert log[-1]["samples_per_second"] == pytest.approx(2 * 2)
    card = json.loads((tmp_path / "run" / "weights.json").read_text(encoding="utf-8"))
    assert card["steps"] == n_steps and load(tmp_path / "run" / "weights.safetensors").sha256 == card["sha256"]
    checkpoint = checkpoint_of(tmp_path / "run")
    assert checkpoint.counters.step == n_steps and not any(key.startswith("module") for key in checkpoint.network)
