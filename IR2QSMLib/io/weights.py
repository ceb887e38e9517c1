"""Weights files: safetensors with a JSON header; their hashes; the folder of the bundled ones."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from IR2QSMLib.core.errors import WeightsInvalid

FORMAT = "ir2qsm-weights-1"
"""Key of the JSON header in the metadata of safetensors."""


@dataclass(frozen=True)
class Weights:
    """The contents of a weights file."""

    tensors: dict[str, Tensor]
    header: dict[str, Any]
    """The network's name and configuration, its input, and how it was trained."""
    sha256: str
    """Hash of the file."""
    name: str
    """Name of the file without its folder."""


def weights_bytes(tensors: dict[str, Tensor], header: dict[str, Any], *, half: bool = True) -> bytes:
    """The content of a weights file.

    Parameters
    ----------
    tensors
        Floating-point ones are stored, others left out.
    header
        JSON values.
    half
        Whether weights of convolutions are stored in float16; everything else is in float32.
    """
    stored = {}
    for name, tensor in tensors.items():
        if tensor.is_floating_point():
            dtype = torch.float16 if half and tensor.ndim > 1 else torch.float32
            stored[name] = tensor.detach().cpu().to(dtype).contiguous()
    # One key of metadata: safetensors writes several in any order, and the same weights would change their hash.
    return safetensors.torch.save(stored, {FORMAT: json.dumps(header)})


def model_card(content: bytes, header: dict[str, Any], **more: Any) -> dict[str, Any]:
    """The JSON file beside a weights file: its hash, which `read_weights` checks, its size, its header and `more`."""
    return {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content), **header, **more}


def read_weights(path: Path, sha256: str | None = None) -> Weights:
    """Read a weights file and check its hash.

    Parameters
    ----------
    path
        A file written by `weights_bytes`.
    sha256
        Expected hash; by default that of the model card (.json) beside the file. Bundled weights must have a card.

    Raises
    ------
    WeightsInvalid
        When the file is missing, altered, not safetensors or not of this format, or a bundled one has no card.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise WeightsInvalid(
            f"The weights '{path.name}' cannot be read ({error.strerror}); give an existing file with --weights.",
            option="weights",
        ) from error
    actual = hashlib.sha256(content).hexdigest()
    expected = _sha256_of_card(path) if sha256 is None else sha256
    if expected is not None and actual != expected:
        raise WeightsInvalid(
            f"The weights '{path.name}' have the SHA-256 {actual[:12]}…, expected {expected[:12]}…; the file was "
            "altered or damaged: download or import it again.",
            option="weights",
        )
    try:
        tensors = safetensors.torch.load(content)  # of the bytes whose hash was checked
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
    except (SafetensorError, OSError, ValueError, KeyError) as error:
        raise WeightsInvalid(
            f"'{path.name}' is no safetensors file; a released checkpoint is converted with: ir2qsm import-weights.",
            option="weights",
        ) from error
    if FORMAT not in metadata:
        raise WeightsInvalid(
            f"'{path.name}' is a safetensors file of another program (it lacks the header "
            f"'{FORMAT}'); give weights written by ir2qsm.",
            option="weights",
        )
    try:
        header = dict(json.loads(metadata[FORMAT]))
    except (TypeError, ValueError) as error:
        raise WeightsInvalid(
            f"'{path.name}' has no readable header; import or train it again.", option="weights"
        ) from error
    return Weights(tensors, header, actual, path.name)


def _sha256_of_card(path: Path) -> str | None:
    """The hash in the model card beside a weights file; None without a card, which bundled weights must have."""
    card = path.with_suffix(".json")
    if card.exists():
        try:
            return str(json.loads(card.read_text(encoding="utf-8"))["sha256"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise WeightsInvalid(
                f"The model card '{card.name}' beside the weights gives no SHA-256 ({type(error).__name__}); restore "
                "or remove it."
            ) from error
    if _is_bundled(path):
        raise WeightsInvalid(
            f"The bundled weights '{path.name}' lack their model card '{card.name}', which gives their SHA-256; "
            "reinstall the program."
        )
    return None


def _is_bundled(path: Path) -> bool:
    try:
        return path.resolve().is_relative_to(models_folder().resolve())
    except WeightsInvalid:  # an installation without weights of its own
        return False


def strict_state_dict(weights: Weights, expected: dict[str, Tensor]) -> dict[str, Tensor]:
    """The state dict of a network with these weights; every key and every shape must fit.

    Parameters
    ----------
    weights
        As read from a file, in any precision.
    expected
        State dict of the network, whose keys, shapes and precision count; its integer counters are kept.

    Raises
    ------
    WeightsInvalid
        Naming the first keys that are missing, unknown, of another shape or not finite.
    """
    wanted = {k: v for k, v in expected.items() if v.is_floating_point()}
    missing = sorted(wanted.keys() - weights.tensors.keys())
    unknown = sorted(weights.tensors.keys() - wanted.keys())
    if missing or unknown:
        raise WeightsInvalid(
            f"The weights '{weights.name}' do not fit the network: {len(missing)} keys missing {missing[:3]}, "
            f"{len(unknown)} unknown {unknown[:3]}; give weights trained for this network.",
            option="weights",
        )
    for key, tensor in wanted.items():
        if weights.tensors[key].shape != tensor.shape:
            raise WeightsInvalid(
                f"The weights '{weights.name}' have {tuple(weights.tensors[key].shape)} for '{key}', expected "
                f"{tuple(tensor.shape)}; give weights trained for this network.",
                option="weights",
            )
        if not bool(weights.tensors[key].isfinite().all()):
            raise WeightsInvalid(
                f"The weights '{weights.name}' hold values in '{key}' that are not finite; expected numbers: train or "
                "import them again.",
                option="weights",
            )
    counters = {k: v for k, v in expected.items() if not v.is_floating_point()}
    return {**counters, **{k: v.to(wanted[k].dtype) for k, v in weights.tensors.items()}}


def models_folder() -> Path:
    """The folder of the bundled weights: inside an installed wheel, or beside the package in a checkout or extension.

    Raises
    ------
    WeightsInvalid
        When there is no such folder.
    """
    package = Path(__file__).resolve().parent.parent
    for folder in (package / "Resources" / "Models", package.parent / "Resources" / "Models"):
        if folder.is_dir():
            return folder
    raise WeightsInvalid("The bundled weights are missing from this installation; reinstall it, or give --weights.")
