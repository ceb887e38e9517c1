"""One training loop: a schedule by time, an averaged copy of the weights, checkpoints that resume exactly."""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch

from IR2QSMLib.core.devices import half_precision, keep_freed_memory
from IR2QSMLib.core.errors import PackageMissing, ParameterInvalid, WeightsInvalid
from IR2QSMLib.core.progress import Progress, silent
from IR2QSMLib.inversion.learned.network_input import NetworkInput, require_fit
from IR2QSMLib.io.weights import fit, model_card, read_weights, weights_bytes
from IR2QSMLib.networks.blocks import fold_batch_norm, settle_batch_norm
from IR2QSMLib.networks.ir2unet import IR2Unet, IR2UnetConfig
from IR2QSMLib.networks.registry import NETWORKS, Config, Network, build, kind_of
from IR2QSMLib.training.data import Sampling
from IR2QSMLib.training.loss import LOSSES
from IR2QSMLib.training.patches import PatchTask
from IR2QSMLib.training.whole_brain import WholeBrainTask


@dataclass(frozen=True)
class Recipe:
    """Everything that decides what a run learns; raises ParameterInvalid when parts do not fit."""

    network: Config = IR2UnetConfig(n_inputs=NetworkInput().n_channels)
    reading: NetworkInput = NetworkInput()
    feed: Sampling = Sampling()
    loss: str = "squared"
    """Error summed over the result and, halved from each pass to the one before, over the iterates."""
    learning_rate: float = 1e-3
    averaging: float = 0.999
    """Decay of the averaged weights, a step."""
    whole_brains: bool = False
    """Whether the network learns from whole brains on coarse voxels, and not from patches."""

    def __post_init__(self) -> None:
        if not 0.0 < self.learning_rate < 1.0:
            raise ParameterInvalid(f"The learning rate is {self.learning_rate:g}; expected a number between 0 and 1.")
        if self.loss not in LOSSES:
            raise ParameterInvalid(f"The loss is '{self.loss}'; expected one of {', '.join(LOSSES)}.")
        require_fit(self.reading, self.network)

    def to_dict(self) -> dict[str, Any]:
        """The recipe for JSON."""
        return {"kind": kind_of(self.network), **asdict(self)}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Recipe:
        """The recipe that `to_dict` described."""
        kind, rest = values.get("kind", "ir2unet"), {k: v for k, v in values.items() if k != "kind"}
        parts: dict[str, Callable[..., Any]] = {
            "network": lambda **v: NETWORKS[kind].config(**v),
            "reading": lambda **v: NetworkInput.from_dict(v),
            "feed": Sampling,
        }
        return cls(**{k: parts[k](**v) if k in parts else v for k, v in rest.items()})

    def task(self, stock: Path | None = None) -> PatchTask | WholeBrainTask:
        """What the network is trained on."""
        if self.whole_brains:
            return WholeBrainTask(self.reading, self.feed.seed)
        unrolled = NETWORKS[kind_of(self.network)].unrolled
        return PatchTask(self.reading, self.feed, self.loss, unrolled=unrolled, stock=stock)


def learning_rate(recipe: Recipe, fraction: float, step: int) -> float:
    """Thirty steps of warm-up, then a cosine over the time given."""
    cosine = 0.5 * (1.0 + math.cos(math.pi * min(fraction, 1.0)))
    return recipe.learning_rate * max(cosine, 1e-3) * min(1.0, (step + 1) / 30)


def load_initial_weights(path: Path, network: Network) -> None:
    """Begin from the weights of a file for a network of the same size; for IR2U-net, whatever the unit it counts in.

    Raises WeightsInvalid when they do not fit.
    """
    weights, kind = read_weights(path), kind_of(network.config)
    if weights.header.get("network") != kind:
        raise WeightsInvalid(f"'{weights.name}' holds a '{weights.header.get('network')}'; expected a '{kind}'.")
    was_normalised = weights.header["config"].get("normalised", True)
    if isinstance(network, IR2Unet) and was_normalised and not network.config.normalised:
        whole = build(replace(network.config, normalised=True))
        whole.load_state_dict(fit(weights, whole.state_dict()))
        network.load_state_dict(fold_batch_norm(whole.eval()).state_dict())
    else:
        network.load_state_dict(fit(weights, network.state_dict()))
    its = float(weights.header["config"].get("unit", 1.0))
    if isinstance(network, IR2Unet):
        network.rescale(network.config.unit / its)
    elif network.config.unit != its:
        raise WeightsInvalid(f"'{weights.name}' counts in units of {its:g} ppm; expected {network.config.unit:g} ppm.")


class Run:
    """A training run in a folder: recipe.json, checkpoint.pt, log.jsonl and weights.safetensors with its card.

    `minutes` is the run's whole time over all its sittings, and `sitting` that of this one; both include the writing
    and judging of checkpoints. A run that is in the folder goes on where it stopped, with the recipe it has there.
    Several devices run through Lightning Fabric; the first of them tells the progress of this sitting, batch by
    batch. `start` names weights that a new run begins from, `stock` a folder for heads that several runs are
    cut from. Raises PackageMissing without Fabric, ParameterInvalid for
    times or a number of devices that cannot be, WeightsInvalid for weights that do not fit.
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
        start: Path | None = None,
        stock: Path | None = None,
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
            raise ParameterInvalid(f"The time is {minutes:g} minutes ({sitting} a sitting); expected positive numbers.")
        if n_devices < 1:
            raise ParameterInvalid(f"The number of devices is {n_devices}; expected 1 or more.")
        self.folder, self.recipe, self.minutes = folder, recipe, minutes
        self.sitting, self.save_every = sitting or minutes, save_every
        self.clock, self.progress, self.first = clock, progress, start
        if (folder / "recipe.json").exists():
            self.recipe = Recipe.from_dict(json.loads((folder / "recipe.json").read_text(encoding="utf-8")))
        self.task: Any = self.recipe.task(stock)
        bf16 = half_precision(device) is not None
        kind, _, index = device.partition(":")
        self.fabric = Fabric(
            accelerator=kind,
            devices=[int(index)] if index and n_devices == 1 else n_devices,
            strategy="ddp" if n_devices > 1 else "auto",
            precision="bf16-mixed" if bf16 else "32-true",
        )
        self.step = self.round = 0
        self.elapsed = self.reserve = 0.0  # seconds
        self.slowest_round = self.slowest_save = 0.0
        self.scores: dict[str, Any] = {}
        self.validation: list[Any] = []

    def __call__(self) -> dict[str, Any]:
        """Train until the time is used up; return the last validation."""
        fabric, recipe = self.fabric, self.recipe
        keep_freed_memory()
        torch.set_flush_denormal(True)
        fabric.launch()
        self.start = self.clock()
        self._set_up()
        if fabric.is_global_zero:  # drawn before the first checkpoint, whose time is held in reserve
            self.validation = self.task.validation(fabric.device)
            if isinstance(self.task, PatchTask):
                next(self.task.settling(fabric.device))
        self.start -= self.elapsed
        self.sat_down, self.end = self.elapsed, min(60.0 * self.minutes, self.elapsed + 60.0 * self.sitting)
        if self.step == 0:
            self._save()
        saved = self.elapsed
        self._keep_reserve()
        while self.elapsed + self.reserve < self.end:
            began = self.elapsed
            torch.manual_seed(recipe.feed.seed + 1_000_003 * self.round + fabric.global_rank)
            schedule = learning_rate(recipe, self.elapsed / max(60.0 * self.minutes - self.reserve, 1.0), self.step)
            for group in self.optimizer.param_groups:
                group["lr"] = schedule
            loss = self._train_round()
            self._tick()
            self.slowest_round = max(self.slowest_round, self.elapsed - began)
            self._log({"loss": loss})
            if self.elapsed - saved >= 60.0 * self.save_every:
                self._save()
                saved = self.elapsed
            self._keep_reserve()
        if self.elapsed > saved:
            self._save()
        return self.scores

    def _set_up(self) -> None:
        network = build(self.recipe.network)
        network.initialise(torch.Generator().manual_seed(self.recipe.feed.seed))
        if self.first is not None:
            load_initial_weights(self.first, network)
        network = network.to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]
        optimizer = torch.optim.Adam(network.parameters(), self.recipe.learning_rate)
        self.model, self.optimizer = self.fabric.setup(network, optimizer)
        self.network = network
        self.average = {k: v.detach().clone() for k, v in network.named_parameters()}
        if (self.folder / "checkpoint.pt").exists():
            self._resume()

    def _train_round(self) -> float:
        """All batches of the next round; return their mean loss."""
        fabric, recipe = self.fabric, self.recipe
        total, n_batches = torch.zeros((), device=fabric.device), 0
        self.model.train()
        for batch in self.task.round(self.round, fabric.device, fabric.global_rank, fabric.world_size):
            self.optimizer.zero_grad()
            loss = self.task.loss(self.model, batch)
            fabric.backward(loss)
            torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.task.largest_gradient)
            self.optimizer.step()
            self.step += 1
            decay = min(recipe.averaging, (1.0 + self.step) / (10.0 + self.step))
            with torch.no_grad():
                for name, parameter in self.network.named_parameters():
                    self.average[name].lerp_(parameter, 1.0 - decay)
            total += loss.detach()
            n_batches += 1
            if fabric.is_global_zero:
                done = (self.clock() - self.start - self.sat_down) / (self.end - self.sat_down)
                self.progress(min(done, 1.0), "training")
        self.round += 1
        return float(total) / n_batches

    def _keep_reserve(self) -> None:
        self.reserve = self.fabric.broadcast(1.2 * (self.slowest_save + self.slowest_round))

    def _tick(self) -> None:
        self.elapsed = self.fabric.broadcast(self.clock() - self.start)  # one clock decides for all ranks

    def _resume(self) -> None:
        path = self.folder / "checkpoint.pt"
        try:
            state = torch.load(path, map_location=self.fabric.device, weights_only=True)
        except (RuntimeError, EOFError, OSError, UnpicklingError, ValueError, KeyError) as error:
            raise WeightsInvalid(f"'{path.name}' cannot be read; delete it to start the run again.") from error
        self.network.load_state_dict(state["network"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.average = state["average"]
        self.step, self.round, self.elapsed = state["step"], state["round"], state["elapsed"]
        self.slowest_round, self.slowest_save = state.get("slowest", (0.0, 0.0))
        self.scores = state.get("scores", {})

    def _save(self) -> None:
        """Write the checkpoint, and the averaged weights with settled statistics and their scores."""
        self._tick()
        began = self.elapsed
        if self.fabric.is_global_zero:
            self.folder.mkdir(parents=True, exist_ok=True)
            averaged = self.averaged()
            self.scores = self.task.validate(averaged, self.validation, self.fabric.device)
            header = self._header()
            content = weights_bytes(averaged.state_dict(), header)
            _write(self.folder / "weights.safetensors", content)
            _write(self.folder / "weights.json", json.dumps(model_card(content, header), indent=2).encode())
            self._log(self.scores)
            self.elapsed = self.clock() - self.start
            self.slowest_save = max(self.slowest_save, self.elapsed - began)
            state = {
                "network": self.network.state_dict(),
                "optimizer": self.optimizer.state_dict(),
                "average": self.average,
                "step": self.step,
                "round": self.round,
                "elapsed": self.elapsed,
                "slowest": (self.slowest_round, self.slowest_save),
                "scores": self.scores,
            }
            beside = self.folder / "checkpoint.pt.part"
            torch.save(state, beside)
            if not (self.folder / "recipe.json").exists():  # only now is there a run that can be resumed
                _write(self.folder / "recipe.json", json.dumps(self.recipe.to_dict(), indent=2).encode())
            os.replace(beside, self.folder / "checkpoint.pt")
        self.fabric.barrier()
        self._tick()

    def averaged(self) -> Network:
        """A copy of the network with the averaged weights, its statistics settled on heads of their own."""
        device = self.fabric.device
        network = build(self.recipe.network.eval_config).to(device)
        network = network.to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]
        network.load_state_dict({**self.network.state_dict(), **self.average})
        if isinstance(self.task, PatchTask):
            batches = list(self.task.settling(device))
            with torch.autocast(device.type, torch.bfloat16, enabled=half_precision(str(device)) is not None):
                settle_batch_norm(network, batches)
        return network

    def _header(self) -> dict[str, Any]:
        return {
            "network": kind_of(self.recipe.network),
            "config": asdict(self.recipe.network.eval_config),
            "reading": asdict(self.recipe.reading),
            "recipe": self.recipe.to_dict(),
            "steps": self.step,
            "minutes": round(self.elapsed / 60.0, 2),
            "device": str(self.fabric.device),
            "validation": self.scores,
        }

    def _log(self, values: dict[str, Any]) -> None:
        if self.fabric.is_global_zero:
            n_patches = self.step * self.recipe.feed.batch * self.fabric.world_size
            line = {"step": self.step, "round": self.round, "minutes": round(self.elapsed / 60, 2), **values}
            line["patches_per_second"] = round(n_patches / max(self.elapsed, 1e-6), 2)
            with open(self.folder / "log.jsonl", "a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")


def _write(path: Path, content: bytes) -> None:
    beside = path.with_name(path.name + ".part")
    beside.write_bytes(content)
    os.replace(beside, path)
