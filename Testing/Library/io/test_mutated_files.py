"""Files with bytes changed, cut or added: `inspect_image` and `load_inputs` read them or say in one sentence why not."""

from __future__ import annotations

import gzip
import json
import random
from collections.abc import Callable
from pathlib import Path

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk

from IR2QSMLib.core.errors import IR2QSMError
from IR2QSMLib.pipeline.inspection import inspect_image
from IR2QSMLib.pipeline.inputs import load_inputs

SHAPE = (10, 11, 12)
WORDS = (b"0", b"-1", b"nan", b"1e400", b"99999999", b"\xff\xfe", b"", b'"', b"{", b"[]", b"null", b"true", b"left")
VALUES = (None, True, -1, 0, 1e400, float("nan"), "", "x", "\udcfc", [], [1, "a"], {}, {"a": {}}, [None] * 3, 10**400)


def nifti(folder: Path) -> bytes:
    image = nibabel.Nifti1Image(np.random.default_rng(0).normal(0, 0.02, SHAPE).astype(np.float32), np.eye(4))
    image.set_qform(np.eye(4), 1)
    nibabel.save(image, folder / "seed.nii")
    return (folder / "seed.nii").read_bytes()


def itk(suffix: str) -> Callable[[Path], bytes]:
    def make(folder: Path) -> bytes:
        image = sitk.GetImageFromArray(np.random.default_rng(0).normal(0, 0.02, SHAPE[::-1]).astype(np.float32))
        sitk.WriteImage(image, str(folder / f"seed{suffix}"))
        return (folder / f"seed{suffix}").read_bytes()

    return make


def mutated(content: bytes, header: int, chance: random.Random) -> bytes:
    """One to four faults in the first bytes, or the file cut or prolonged."""
    data = bytearray(content)
    for _ in range(chance.randint(1, 4)):
        place, kind = chance.randrange(header), chance.randrange(5)
        if kind == 0:
            data[place % max(1, len(data))] = chance.randrange(256)
        elif kind == 1:
            word = chance.choice(WORDS)
            data[place : place + len(word)] = word
        elif kind == 2:
            del data[place : place + chance.randint(1, 8)]
        elif kind == 3:
            data = data[: chance.randrange(len(data) + 1)] or bytearray(b"\0")
        else:
            data[place:place] = chance.choice(WORDS)
    return bytes(data)


def mutated_json(chance: random.Random) -> bytes:
    """A sidecar with wrong values, or its bytes with faults."""
    keys = ("Units", "MagneticFieldStrength", "EchoTime", "B0Direction", "ImageType", "Manufacturer", "EchoTime1")
    content = {key: chance.choice(VALUES) for key in chance.sample(keys, chance.randint(1, 4))}
    text = json.dumps(content).encode()
    return mutated(text, len(text), chance) if chance.random() < 0.3 else text


def try_both(file: Path, mask: Path) -> None:
    for work in (lambda: inspect_image(file), lambda: load_inputs(file, mask)):
        try:
            work()
        except IR2QSMError as error:
            assert str(error) and "Traceback" not in str(error)


def fuzz(folder: Path, suffix: str, make: Callable[[Path], bytes], n: int, seed: int) -> None:
    content = make(folder)
    whole, mask = folder / f"whole{suffix}", folder / "mask.nii"
    whole.write_bytes(content)
    nibabel.save(nibabel.Nifti1Image(np.ones(SHAPE, np.uint8), np.eye(4)), mask)
    for number in range(n):
        chance = random.Random(seed + number)
        file = folder / f"a{suffix}"
        broken = mutated(content, 352 if suffix.startswith(".nii") else 290, chance)
        file.write_bytes(gzip.compress(broken, 1) if suffix.endswith(".gz") else broken)
        (folder / "whole.json").write_bytes(mutated_json(chance))
        for path in (file, whole) if number % 3 == 0 else (file,):
            try:
                try_both(path, mask)
            except Exception as error:
                raise AssertionError(f"{path.name} with the seed {seed + number}: {error!r}") from error


KINDS = [(".nii", nifti), (".nii.gz", nifti), (".nrrd", itk(".nrrd")), (".mha", itk(".mha"))]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("suffix", "make"), KINDS, ids=[suffix for suffix, _ in KINDS])
def test_damaged_files_are_read_or_refused(tmp_path: Path, suffix: str, make: Callable[[Path], bytes]) -> None:
    fuzz(tmp_path, suffix, make, 40, 0)


@pytest.mark.long
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("suffix", "make"), KINDS, ids=[suffix for suffix, _ in KINDS])
def test_many_damaged_files_are_read_or_refused(tmp_path: Path, suffix: str, make: Callable[[Path], bytes]) -> None:
    fuzz(tmp_path, suffix, make, 2500, 10_000)
