"""Checkpoints that other programs saved: torch's, and Keras' HDF5; nothing in them is executed."""

from __future__ import annotations

import warnings
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import numpy as np
import torch
from torch import Tensor

from IR2QSMLib.core.errors import PackageMissing, WeightsInvalid


def read_checkpoint(path: Path) -> dict[str, Tensor]:
    """Read a state dict that torch saved, by itself or as the `model_state` of a training run.

    Raises
    ------
    WeightsInvalid
        When the file is unreadable, holds anything but tensors, or asks to run code.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch warns of unknown pickle protocols before it raises
            state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged pickle raises almost any type
        runs_code = isinstance(error, UnpicklingError) and "GLOBAL" in str(error)
        reason = "it asks to run code" if runs_code else type(error).__name__
        raise WeightsInvalid(
            f"'{path.name}' cannot be read as a checkpoint of tensors ({reason}); expected the authors' .pth file."
        ) from error
    if isinstance(state, dict) and "model_state" in state:
        state = state["model_state"]
    if not isinstance(state, dict) or not all(isinstance(v, Tensor) for v in state.values()):
        raise WeightsInvalid(f"'{path.name}' holds more than tensors; expected a plain state dict.")
    return state


def read_keras(path: Path) -> dict[str, Tensor]:
    """Read the datasets of a Keras weights file (HDF5), by name, as float32.

    Raises
    ------
    WeightsInvalid
        When the file is unreadable or refers to data in other files.
    PackageMissing
        Without h5py.
    """
    try:
        import h5py
    except ImportError as error:
        raise PackageMissing("A Keras file needs h5py; install it with: pip install 'ir2qsm[import]'.") from error
    datasets: dict[str, Tensor] = {}

    def add(name: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset):
            if item.external is not None or item.is_virtual:
                raise WeightsInvalid(f"'{path.name}' keeps '{name}' in another file; expected all in one file.")
            datasets[name] = torch.from_numpy(np.asarray(item[()], dtype=np.float32))

    try:
        with h5py.File(path, "r") as file:
            file.visititems(add)  # which follows no link to another file
    except (OSError, ValueError, TypeError, RuntimeError) as error:
        raise WeightsInvalid(
            f"'{path.name}' cannot be read as HDF5 ({type(error).__name__}); expected the authors' .h5 file."
        ) from error
    return datasets
