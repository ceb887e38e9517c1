"""A training run: one loop, which ends in time, saves as it goes and continues where it stopped."""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from IR2QSMLib.core.devices import half_precision, keep_freed_memory
from IR2QSMLib.core.errors import PackageMissing, ParameterInvalid
from IR2QSMLib.core.progress import Progress, silent
from IR2QSMLib.io.weights import model_card, weights_bytes
from IR2QSMLib.training.averaging import averaged_model, evaluation_network
from IR2QSMLib.training.checkpoint import Checkpoint, Counters
from IR2QSMLib.training.initial_weights import initial_network
from IR2QSMLib.training.patch_task import PatchTask
from IR2QSMLib.training.recipe import FILE, Recipe
from IR2QSMLib.training.schedule import RunTimer, learning_rate


class TrainingRun:
    """A training run in a folder: recipe.json, checkpoint.safetensors, log.jsonl and weights.safetensors with its card.

    A run that is in the folder continues where it stopped, with the recipe that it has there, bit for bit as if it had
    not been interrupted. Gradients are cut at the task's limit, so that an example with an absurd loss moves the
    weights no more than an ordinary one. A step whose gradient is not finite is skipped, and the log counts it.

    Parameters
    ----------
    folder : Path
        Of the run; made where it is missing.
    recipe : Recipe
        What a new run learns.
    minutes : float
        The run's time over all its sittings, checkpoints and their validation included.
    sitting : float, optional
        Time of this sitting [minutes].
    device : str
        cpu, cuda or mps, with an index where one of several is meant.
    n_devices : int
        Devices of that kind that train together, through Lightning Fabric.
    initial_weights : Path, optional
        A weights file that a new run begins from.
    patch_cache : Path, optional
        A folder that keeps patches for other runs.
    save_every : float
        Time between checkpoints [minutes].
    clock : callable
        Seconds, rising.
    progress : callable
        Is told the share of this sitting that has passed, at each step, by the first device.

    Raises
    ------
    PackageMissing
        Without Lightning Fabric.
    ParameterInvalid
        For times or a number of devices that cannot be.
    WeightsInvalid
        For initial weights that do not fit, or a damaged checkpoint.
    """

    def __init__(
        self,
        folder: Path,
        recipe: Recipe,
        minutes: float,
        *,
        sitting: float | None = None,
        device: str = "cpu",
        n_devices: int = 1,
        initial_weights: Path | None = None,
        patch_cache: Path | None = None,
        save_every: float = 5.0,
        clock: Callable[[], float] = time.monotonic,
        progress: Progress = silent,
    ) -> None:
        try:
            from lightning_fabric import Fabric
        except ImportError as error:
            raise PackageMissing(
                "Training needs lightning-fabric; install it with: pip install 'ir2qsm[train]'."
            ) from error
        if not minutes > 0 or (sitting is not None and not sitting > 0):
            raise ParameterInvalid(
                f"The time is {minutes:g} minutes ({sitting} a sitting); expected positive numbers.", option="minutes"
            )
        if n_devices < 1:
            raise ParameterInvalid(f"The number of devices is {n_devices}; expected 1 or more.", option="devices")
        self.folder, self.minutes, self.sitting, self.save_every = folder, minutes, sitting, save_every
        self.initial_weights, self.clock, self.progress = initial_weights, clock, progress
        self.recipe = Recipe.read(folder) or recipe
        self.task: Any = self.recipe.task(patch_cache)
        kind, _, index = device.partition(":")
        self.fabric = Fabric(
            accelerator=kind,
            devices=[int(index)] if index and n_devices == 1 else n_devices,
            strategy="ddp" if n_devices > 1 else "auto",
            precision="bf16-mixed" if half_precision(device) is not None else "32-true",
        )
        self.step = self.round = 0
        self.scores: dict[str, Any] = {}

    def __call__(self) -> dict[str, Any]:
        """Train until the time is used up.

        Returns
        -------
        dict
            The scores of the last validation.

        Raises
        ------
        ParameterInvalid
            When no step of a round has a finite gradient.
        """
        fabric, recipe, task = self.fabric, self.recipe, self.task
        keep_freed_memory()
        torch.set_flush_denormal(True)
        fabric.launch()
        device, rank, n_ranks = fabric.device, fabric.global_rank, fabric.world_size
        timer = self.timer = RunTimer(self.minutes, self.sitting, self.clock, fabric.broadcast)

        # Network, optimizer and average, from the checkpoint if there is one.
        network = initial_network(recipe.config, recipe.sampling.seed, self.initial_weights)
        model, optimizer = fabric.setup(network, torch.optim.Adam(network.parameters(), recipe.learning_rate))
        average = averaged_model(network, recipe.averaging_decay)
        self.network, self.optimizer, self.average = network, optimizer, average
        checkpoint = Checkpoint.load(self.folder, device)
        if checkpoint is not None:
            checkpoint.restore(network, optimizer, average)
            counters, self.scores = checkpoint.counters, checkpoint.scores
            self.step, self.round = counters.step, counters.round
            timer.resume(counters.elapsed, counters.slowest_round, counters.slowest_save)

        # Data, drawn before the first checkpoint, whose time is kept in reserve.
        self.validation_cases = task.validation_cases(device) if fabric.is_global_zero else []
        task.draw_ahead(self.round, device, rank, n_ranks)

        if self.step == 0:
            self._save()
        saved_step, saved_at = self.step, timer.elapsed
        while timer.another_round_fits():
            began = timer.elapsed
            torch.manual_seed(recipe.sampling.seed + 1_000_003 * self.round + rank)
            for group in optimizer.param_groups:
                group["lr"] = learning_rate(recipe.learning_rate, timer.run_fraction, self.step)
            model.train()
            total_loss, n_steps, n_skipped = torch.zeros((), device=device), 0, 0
            for batch in task.round(self.round, device, rank, n_ranks):
                optimizer.zero_grad()
                loss = task.loss(model, batch)
                fabric.backward(loss)
                # Devices share their gradients, so that all take or skip a step together.
                norm = float(torch.nn.utils.clip_grad_norm_(model.parameters(), task.gradient_limit))
                if math.isfinite(norm):
                    optimizer.step()
                    average.update_parameters(network)
                    total_loss += loss.detach()
                    n_steps += 1
                else:
                    n_skipped += 1
                self.step += 1
                if fabric.is_global_zero:
                    self.progress(timer.sitting_fraction, "training")
            if n_steps == 0:
                raise ParameterInvalid(
                    f"No step of round {self.round} has a finite gradient; begin a new run with a lower "
                    "--learning-rate, or from earlier weights with --initial-weights.",
                    option="learning_rate",
                )
            self.round += 1
            timer.update()
            timer.slowest_round = max(timer.slowest_round, timer.elapsed - began)
            skipped = {"skipped": n_skipped} if n_skipped else {}
            self._log({"loss": float(total_loss) / n_steps, **skipped})
            if timer.elapsed - saved_at >= 60.0 * self.save_every:
                self._save()
                saved_step, saved_at = self.step, timer.elapsed
        if self.step > saved_step:
            self._save()
        return self.scores

    def _save(self) -> None:
        """Write the checkpoint, and the averaged weights with their scores."""
        fabric, timer = self.fabric, self.timer
        timer.update()
        if fabric.is_global_zero:
            self.folder.mkdir(parents=True, exist_ok=True)
            is_patch_task = isinstance(self.task, PatchTask)
            batch_norm_inputs = self.task.batch_norm_inputs(fabric.device) if is_patch_task else ()
            network = evaluation_network(self.average, batch_norm_inputs)
            self.scores = self.task.validate(network, self.validation_cases, fabric.device)
            header = self._header()
            content = weights_bytes(network.state_dict(), header)
            _write(self.folder / "weights.safetensors", content)
            _write(self.folder / "weights.json", json.dumps(model_card(content, header), indent=2).encode())
            self._log(self.scores)
            now = timer.now()
            timer.slowest_save = max(timer.slowest_save, now - timer.elapsed)
            counters = Counters(self.step, self.round, now, timer.slowest_round, timer.slowest_save)
            checkpoint = Checkpoint.of(self.network, self.optimizer, self.average, counters, self.scores)
            if not (self.folder / FILE).exists():  # only now is there a run that can be resumed
                _write(self.folder / FILE, json.dumps(self.recipe.to_dict(), indent=2).encode())
            checkpoint.save(self.folder)
        fabric.barrier()
        timer.update()

    def _header(self) -> dict[str, Any]:
        return {
            "network": self.recipe.network,
            "config": asdict(self.recipe.config.eval_config),
            "reading": asdict(self.recipe.network_input),
            "recipe": self.recipe.to_dict(),
            "steps": self.step,
            "minutes": round(self.timer.elapsed / 60.0, 2),
            "device": str(self.fabric.device),
            "validation": self.scores,
        }

    def _log(self, values: dict[str, Any]) -> None:
        if self.fabric.is_global_zero:
            elapsed = self.timer.elapsed
            n_samples = self.step * self.task.batch_size * self.fabric.world_size
            line = {"step": self.step, "round": self.round, "minutes": round(elapsed / 60, 2), **values}
            line["samples_per_second"] = round(n_samples / max(elapsed, 1e-6), 2)
            with open(self.folder / "log.jsonl", "a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")


def _write(path: Path, content: bytes) -> None:
    unfinished = path.with_name(path.name + ".part")
    unfinished.write_bytes(content)
    os.replace(unfinished, path)
