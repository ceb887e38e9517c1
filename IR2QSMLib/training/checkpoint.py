"""The state of a run on disk: arrays and JSON in one safetensors file, written as a whole or not at all."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from IR2QSMLib.core.errors import WeightsInvalid

FILE = "checkpoint.safetensors"
OLD_FILE = "checkpoint.pt"
"""That of version 0.1.0, a dictionary saved by torch."""
KEY = "ir2qsm-checkpoint-1"


@dataclass(frozen=True)
class Counters:
    """Steps, rounds and times of a run so far."""

    step: int = 0
    round: int = 0
    elapsed: float = 0.0
    """Seconds over all sittings."""
    slowest_round: float = 0.0
    """[s]."""
    slowest_save: float = 0.0
    """[s]."""


@dataclass(frozen=True)
class Checkpoint:
    """Everything that a run needs to continue as if it had not been interrupted."""

    network: dict[str, Tensor]
    """The network's state."""
    average: dict[str, Tensor]
    """The averaged parameters by name."""
    moments: dict[int, dict[str, Tensor]]
    """The optimizer's tensors by name, for each parameter by its number."""
    parameter_groups: list[dict[str, Any]]
    """The optimizer's settings."""
    n_averaged: int
    """Updates of the average, the copy at the beginning included."""
    counters: Counters
    scores: dict[str, Any]
    """The last validation's."""

    @classmethod
    def of(
        cls, network: nn.Module, optimizer: Any, average: AveragedModel, counters: Counters, scores: dict[str, Any]
    ) -> Checkpoint:
        """The checkpoint of a network, its optimizer and its average."""
        state = optimizer.state_dict()
        averaged = {name: p.detach() for name, p in average.module.named_parameters()}
        groups, n_averaged = state["param_groups"], int(average.n_averaged)
        return cls(network.state_dict(), averaged, state["state"], groups, n_averaged, counters, scores)

    def restore(self, network: nn.Module, optimizer: Any, average: AveragedModel) -> None:
        """Bring a network, its optimizer and its average, made anew, to this state."""
        network.load_state_dict(self.network)
        average.module.load_state_dict({**self.network, **self.average})
        average.n_averaged.fill_(self.n_averaged)
        # Moments lie in memory as their parameters do, so that every step is the same to the last bit.
        moments: dict[int, dict[str, Tensor]] = {}
        for number, parameter in enumerate(network.parameters()):
            moments[number] = {
                name: torch.empty_like(parameter).copy_(value) if value.shape == parameter.shape else value.cpu()
                for name, value in self.moments.get(number, {}).items()
            }
        state = {number: values for number, values in moments.items() if values}
        optimizer.load_state_dict({"state": state, "param_groups": self.parameter_groups})

    def save(self, folder: Path) -> None:
        """Write the checkpoint into a run's folder, in place of an older one."""
        tensors = {f"network.{name}": value for name, value in self.network.items()}
        tensors |= {f"average.{name}": value for name, value in self.average.items()}
        for number, values in self.moments.items():
            tensors |= {f"optimizer.{number}.{name}": value for name, value in values.items()}
        rest = {
            "parameter_groups": self.parameter_groups,
            "n_averaged": self.n_averaged,
            "counters": asdict(self.counters),
            "scores": self.scores,
        }
        unfinished = folder / f"{FILE}.part"
        contiguous = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
        save_file(contiguous, unfinished, metadata={KEY: json.dumps(rest)})
        os.replace(unfinished, folder / FILE)
        (folder / OLD_FILE).unlink(missing_ok=True)

    @classmethod
    def load(cls, folder: Path, device: torch.device) -> Checkpoint | None:
        """The checkpoint in a run's folder, also one of version 0.1.0; None where there is none.

        Raises
        ------
        WeightsInvalid
            When the file is damaged.
        """
        readers = ((folder / FILE, _read), (folder / OLD_FILE, _read_old))
        for path, reader in readers:
            if path.exists():
                try:
                    return reader(path, device)
                except (
                    SafetensorError,
                    UnpicklingError,
                    RuntimeError,
                    EOFError,
                    OSError,
                    ValueError,
                    KeyError,
                ) as error:
                    raise WeightsInvalid(
                        f"'{path.name}' cannot be read; delete it to begin the run anew.", option="resume"
                    ) from error
        return None


def _read(path: Path, device: torch.device) -> Checkpoint:
    with safe_open(path, "pt", device=str(device)) as file:
        rest = json.loads(file.metadata()[KEY])
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    parts: dict[str, dict[str, Tensor]] = {"network": {}, "average": {}, "optimizer": {}}
    for name, tensor in tensors.items():
        part, _, key = name.partition(".")
        parts[part][key] = tensor
    moments: dict[int, dict[str, Tensor]] = {}
    for name, tensor in parts["optimizer"].items():
        number, _, key = name.partition(".")
        moments.setdefault(int(number), {})[key] = tensor
    return Checkpoint(
        parts["network"],
        parts["average"],
        moments,
        rest["parameter_groups"],
        rest["n_averaged"],
        Counters(**rest["counters"]),
        rest["scores"],
    )


def _read_old(path: Path, device: torch.device) -> Checkpoint:
    state = torch.load(path, map_location=device, weights_only=True)
    counters = Counters(state["step"], state["round"], state["elapsed"], *state.get("slowest", (0.0, 0.0)))
    return Checkpoint(
        state["network"],
        state["average"],
        state["optimizer"]["state"],
        state["optimizer"]["param_groups"],
        state["step"] + 1,
        counters,
        state.get("scores", {}),
    )
