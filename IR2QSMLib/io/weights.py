"""Weights files: safetensors with a JSON header, their hashes, and where the bundled ones lie."""

from __future__ import annotations

import hashlib
import json
import warnings
from dataclasses import dataclass
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import numpy as np
import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor

from IR2QSMLib.core.errors import PackageMissing, WeightsInvalid

FORMAT = "ir2qsm-weights-1"


@dataclass(frozen=True)
class Weights:
    """The contents of a weights file."""

    tensors: dict[str, Tensor]
    header: dict[str, Any]
    """The network's name and configuration, what it reads, and how it was trained."""
    sha256: str
    """Of the file."""
    name: str
    """The file's name without its folder."""


def weights_bytes(tensors: dict[str, Tensor], header: dict[str, Any], *, half: bool = True) -> bytes:
    """A safetensors file: convolution weights in float16 (with `half`), everything else in float32."""
    stored = {}
    for name, tensor in tensors.items():
        if tensor.is_floating_point():
            dtype = torch.float16 if half and tensor.ndim > 1 else torch.float32
            stored[name] = tensor.detach().cpu().to(dtype).contiguous()
    # One key of metadata: safetensors writes several in any order, and the same weights would change their hash.
    return safetensors.torch.save(stored, {FORMAT: json.dumps(header)})


def model_card(content: bytes, header: dict[str, Any], **more: Any) -> dict[str, Any]:
    """What stands beside a weights file as JSON: its hash, which reading it checks, its header, and `more`."""
    n_bytes = len(content)
    return {"sha256": hashlib.sha256(content).hexdigest(), "bytes": n_bytes, **header, **more}


def read_weights(path: Path, sha256: str | None = None) -> Weights:
    """Read a weights file and check its hash, given or found in the model card (.json) beside it.

    Bundled weights must have their card; others may lack it. Raises WeightsInvalid when the file or that card is
    missing, and when the file is altered, not safetensors or not of this format.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise WeightsInvalid(
            f"The weights '{path.name}' cannot be read ({error.strerror}); give an existing file with --weights."
        ) from error
    found = hashlib.sha256(content).hexdigest()
    card = path.with_suffix(".json")
    if sha256 is None and card.exists():
        try:
            sha256 = str(json.loads(card.read_text(encoding="utf-8"))["sha256"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise WeightsInvalid(
                f"The model card '{card.name}' beside the weights gives no SHA-256 ({type(error).__name__}); restore "
                "or remove it."
            ) from error
    if sha256 is None and _is_bundled(path):
        raise WeightsInvalid(
            f"The bundled weights '{path.name}' lack their model card '{card.name}', which gives their SHA-256; "
            "reinstall the program."
        )
    if sha256 is not None and sha256 != found:
        raise WeightsInvalid(
            f"The weights '{path.name}' have the SHA-256 {found[:12]}…, expected {sha256[:12]}…; the file was altered "
            "or damaged: download or import it again."
        )
    try:
        tensors = safetensors.torch.load(content)
        length = int.from_bytes(content[:8], "little")
        metadata = json.loads(content[8 : 8 + length]).get("__metadata__") or {}
    except (SafetensorError, ValueError, KeyError) as error:
        raise WeightsInvalid(
            f"'{path.name}' is no safetensors file; a released checkpoint is converted with: ir2qsm import-weights."
        ) from error
    if FORMAT not in metadata:
        raise WeightsInvalid(
            f"'{path.name}' is a safetensors file of another program (it lacks the header "
            f"'{FORMAT}'); give weights written by ir2qsm."
        )
    try:
        header = dict(json.loads(metadata[FORMAT]))
    except (TypeError, ValueError) as error:
        raise WeightsInvalid(f"'{path.name}' has no readable header; import or train it again.") from error
    return Weights(tensors, header, found, path.name)


def _is_bundled(path: Path) -> bool:
    try:
        return path.resolve().is_relative_to(models_folder().resolve())
    except WeightsInvalid:  # an installation without weights of its own
        return False


def fit(weights: Weights, expected: dict[str, Tensor]) -> dict[str, Tensor]:
    """The state dict for a network whose own is `expected`: every key and every shape must fit.

    Raises WeightsInvalid that names the first keys that are missing, unknown, of another shape or not finite.
    """
    wanted = {k: v for k, v in expected.items() if v.is_floating_point()}
    missing = sorted(wanted.keys() - weights.tensors.keys())
    unknown = sorted(weights.tensors.keys() - wanted.keys())
    if missing or unknown:
        raise WeightsInvalid(
            f"The weights '{weights.name}' do not fit the network: {len(missing)} keys missing {missing[:3]}, "
            f"{len(unknown)} unknown {unknown[:3]}; give weights trained for this network."
        )
    for key, tensor in wanted.items():
        if weights.tensors[key].shape != tensor.shape:
            raise WeightsInvalid(
                f"The weights '{weights.name}' have {tuple(weights.tensors[key].shape)} for '{key}', expected "
                f"{tuple(tensor.shape)}; give weights trained for this network."
            )
        if not bool(weights.tensors[key].isfinite().all()):
            raise WeightsInvalid(
                f"The weights '{weights.name}' hold values in '{key}' that are not finite; expected numbers: train or "
                "import them again."
            )
    counters = {k: v for k, v in expected.items() if not v.is_floating_point()}
    return {**counters, **{k: v.to(wanted[k].dtype) for k, v in weights.tensors.items()}}


def read_checkpoint(path: Path) -> dict[str, Tensor]:
    """A state dict saved by torch, alone or as the `model_state` of a run, read without executing pickled code.

    Raises WeightsInvalid when the file is unreadable, holds anything but tensors, or asks to run code.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch warns of pickle protocols it may not read, and then says so
            state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged pickle raises almost any type
        asked = isinstance(error, UnpicklingError) and "GLOBAL" in str(error)
        reason = "it asks to run code" if asked else type(error).__name__
        raise WeightsInvalid(
            f"'{path.name}' cannot be read as a checkpoint of tensors ({reason}); expected the authors' .pth file."
        ) from error
    if isinstance(state, dict) and "model_state" in state:
        state = state["model_state"]
    if not isinstance(state, dict) or not all(isinstance(v, Tensor) for v in state.values()):
        raise WeightsInvalid(f"'{path.name}' holds more than tensors; expected a plain state dict.")
    return state


def read_keras(path: Path) -> dict[str, Tensor]:
    """The datasets of a Keras weights file (HDF5) by their names, float32.

    Only what lies in the file itself is read, and nothing in it is executed. Raises WeightsInvalid when the file is
    unreadable or points to others, PackageMissing without h5py.
    """
    try:
        import h5py
    except ImportError as error:
        raise PackageMissing("A Keras file needs h5py; install it with: pip install 'ir2qsm[import]'.") from error
    found: dict[str, Tensor] = {}

    def take(name: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset):
            if item.external is not None or item.is_virtual:
                raise WeightsInvalid(f"'{path.name}' keeps '{name}' in another file; expected a file of its own.")
            found[name] = torch.from_numpy(np.asarray(item[()], dtype=np.float32))

    try:
        with h5py.File(path, "r") as file:
            file.visititems(take)  # which follows no link to another file
    except (OSError, ValueError, TypeError, RuntimeError) as error:
        raise WeightsInvalid(
            f"'{path.name}' cannot be read as HDF5 ({type(error).__name__}); expected the authors' .h5 file."
        ) from error
    return found


def models_folder() -> Path:
    """Where the bundled weights lie: inside an installed wheel, or beside the package in a checkout or extension.

    Raises WeightsInvalid when there is no such folder.
    """
    package = Path(__file__).resolve().parent.parent
    for folder in (package / "Resources" / "Models", package.parent / "Resources" / "Models"):
        if folder.is_dir():
            return folder
    raise WeightsInvalid("The bundled weights are missing from this installation; reinstall it, or give --weights.")
