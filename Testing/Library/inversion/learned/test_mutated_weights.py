"""Weights files with bytes changed, cut or added: a network of exactly what the file holds, or one sentence."""

from __future__ import annotations

import contextlib
import json
import random
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from IR2QSMLib.core.errors import IR2QSMError
from IR2QSMLib.inversion.learned.load import load
from IR2QSMLib.io.weights import FORMAT, read_weights
from Testing.Library.mutations import mutated

TYPES = {"F16": "<f2", "F32": "<f4", "F64": "<f8"}
ODD = (None, True, -1, 0, 1, 3, 1e9, 10**12, float("nan"), "", "both", [], [1, 2, 3], {}, {"reads": 3}, [[None]])


def plainly_read(content: bytes) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Tensors and header of a safetensors file, by its definition."""
    (length,) = struct.unpack("<Q", content[:8])
    entries = json.loads(content[8 : 8 + length])
    metadata = entries.pop("__metadata__")
    data = content[8 + length :]
    tensors = {
        name: np.frombuffer(data[slice(*e["data_offsets"])], TYPES[e["dtype"]]).reshape(e["shape"])
        for name, e in entries.items()
        if e["dtype"] in TYPES
    }
    return tensors, json.loads(metadata[FORMAT])


def with_odd_settings(content: bytes, chance: random.Random) -> bytes:
    """The file with one to three settings of its header replaced or left out."""
    (length,) = struct.unpack("<Q", content[:8])
    entries = json.loads(content[8 : 8 + length])
    header = json.loads(entries["__metadata__"][FORMAT])
    for _ in range(chance.randint(1, 3)):
        place = chance.choice([header, *(v for v in header.values() if isinstance(v, dict) and v)])
        place[chance.choice(list(place))] = chance.choice(ODD)
        if chance.random() < 0.2:
            place.pop(chance.choice(list(place)))
        if not header:
            break
    entries["__metadata__"][FORMAT] = json.dumps(header)
    head = json.dumps(entries).encode()
    return struct.pack("<Q", len(head)) + head + content[8 + length :]


def fuzz(folder: Path, weights: Path, n: int, seed: int) -> int:
    """Mutate a file and its model card `n` times; returns how often a network could be loaded."""
    content, n_loaded = weights.read_bytes(), 0
    file, card = folder / "mutated.safetensors", folder / "mutated.json"
    for number in range(seed, seed + n):
        chance = random.Random(number)
        (length,) = struct.unpack("<Q", content[:8])
        places = len(content) if number % 8 == 1 else 8 + length
        data = mutated(content, places, chance) if number % 2 else with_odd_settings(content, chance)
        file.write_bytes(data)
        card.unlink(missing_ok=True)
        if number % 5 == 0:
            good = json.dumps({"sha256": read_weights(weights).sha256}).encode()
            card.write_bytes(mutated(good, len(good), chance) if number % 2 else good)
        try:
            with contextlib.suppress(IR2QSMError):
                loaded = load(file)
                n_loaded += 1
                assert not card.exists() or data == content, "altered weights pass their card"
                tensors, header = plainly_read(data)
                read = read_weights(file)
                assert loaded.network_name == header["network"]
                assert read.tensors.keys() == tensors.keys()
                for name, values in tensors.items():
                    np.testing.assert_array_equal(read.tensors[name].numpy(), values)
        except Exception as error:
            raise AssertionError(f"weights with the seed {number}: {error!r}") from error
    return n_loaded


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", ["ir2unet", "whole-brain"])
def test_damaged_weights_are_what_they_hold_or_refused(
    make_weights: Callable[..., Path], tmp_path: Path, kind: str
) -> None:
    assert fuzz(tmp_path, make_weights(kind=kind), 20, 0)


@pytest.mark.long
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", ["ir2unet", "unet", "xqsm", "whole-brain"])
def test_many_damaged_weights_are_what_they_hold_or_refused(
    make_weights: Callable[..., Path], tmp_path: Path, kind: str
) -> None:
    assert fuzz(tmp_path, make_weights(kind=kind), 250, 10_000) > 5
