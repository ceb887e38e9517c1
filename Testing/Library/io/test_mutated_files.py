"""Images with bytes changed, cut or added: the map is that of what the header says, or one sentence says why not."""

from __future__ import annotations

import contextlib
import gzip
import random
from collections.abc import Callable
from pathlib import Path

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk

from IR2QSMLib.core.errors import IR2QSMError
from IR2QSMLib.core.grid import Grid
from IR2QSMLib.io.images import read_volume
from IR2QSMLib.io.masks import read_labels
from IR2QSMLib.pipeline.inputs import LoadedField, load_inputs
from IR2QSMLib.pipeline.inspection import inspect_image
from IR2QSMLib.pipeline.reconstruct import reconstruct
from Testing.Library.mutations import Trials, mutated
from Testing.Library.plain_readers import READERS

SHAPE = (10, 11, 12)
HEADER_BYTES = {".nii": 352, ".nii.gz": 352, ".nrrd": 290, ".mha": 290}


def field_and_mask() -> tuple[np.ndarray, np.ndarray]:
    values = np.random.default_rng(0).normal(0, 0.02, SHAPE).astype(np.float32)
    mask = np.zeros(SHAPE, np.float32)
    mask[1:-1, 1:-1, 1:-1] = 1.0
    return values, mask


def nifti(folder: Path, values: np.ndarray) -> bytes:
    affine = nibabel.affines.from_matvec(np.diag([1.0, 1.5, 2.0]), [-3.0, 4.0, 5.0])
    image = nibabel.Nifti1Image(values, affine)
    image.set_qform(affine, 1)
    image.set_sform(affine, 0)
    nibabel.save(image, folder / "seed.nii")
    return (folder / "seed.nii").read_bytes()


def itk(suffix: str) -> Callable[[Path, np.ndarray], bytes]:
    def make(folder: Path, values: np.ndarray) -> bytes:
        image = sitk.GetImageFromArray(values.T)
        image.SetSpacing((1.0, 1.5, 2.0))
        image.SetOrigin((-3.0, 4.0, 5.0))
        sitk.WriteImage(image, str(folder / f"seed{suffix}"))
        return (folder / f"seed{suffix}").read_bytes()

    return make


KINDS = {".nii": nifti, ".nii.gz": nifti, ".nrrd": itk(".nrrd"), ".mha": itk(".mha")}


def what_headers_say(suffix: str, files: list[Path]) -> LoadedField:
    """The field of what the headers of field and mask say, through arrays instead of files."""
    field, mask = (READERS[suffix](file.read_bytes()) for file in files)
    grid = Grid(field.values.shape, tuple(field.voxel_size), tuple(field.direction.ravel()), tuple(field.origin))
    return load_inputs(field.values.astype(np.float32), mask.values.astype(np.float32) != 0, grid)


def require_equal(loaded: LoadedField, said: LoadedField) -> None:
    """Values and grid of two fields are the same."""
    a, b = loaded.local, said.local
    np.testing.assert_allclose(a.values, b.values, atol=1e-6)
    np.testing.assert_array_equal(a.mask, b.mask)
    np.testing.assert_allclose(a.grid.voxel_size, b.grid.voxel_size, rtol=1e-3)
    np.testing.assert_allclose(a.grid.direction, b.grid.direction, atol=2e-3)
    np.testing.assert_allclose(a.grid.origin, b.grid.origin, rtol=1e-3, atol=0.1 * min(a.grid.voxel_size))


def fuzz(folder: Path, suffix: str, n: int, seed: int) -> Trials:
    """Mutate field, mask or both alike `n` times; compare what is read, and some maps, with what the headers say."""
    contents = [KINDS[suffix](folder, values) for values in field_and_mask()]
    trials = Trials(folder)
    files = [folder / f"field{suffix}", folder / f"mask{suffix}"]
    for number in range(seed, seed + n):
        for i, (file, content) in enumerate(zip(files, contents, strict=True)):
            is_mutated = number % 3 == 0 or number % 3 - 1 == i
            broken = mutated(content, HEADER_BYTES[suffix], random.Random(number)) if is_mutated else content
            packed = gzip.compress(broken, 1) if suffix.endswith(".gz") else broken
            if suffix.endswith(".gz") and is_mutated and number % 5 == 0:
                packed = mutated(packed, len(packed), random.Random(number))
            file.write_bytes(packed)
        try:
            with contextlib.suppress(IR2QSMError):
                require_equal(load_inputs(*files), what_headers_say(suffix, files))
                trials.n_read += 1
            if number % 8 == 1:
                with contextlib.suppress(IR2QSMError):
                    labels = read_labels(files[1], read_volume(files[1])[1], files[0].name)
                    np.testing.assert_array_equal(labels, READERS[suffix](files[1].read_bytes()).values)
            if number % 4 == 0:
                with contextlib.suppress(IR2QSMError):
                    inspect_image(*files)
            if number % 16 == 0:
                code = trials.run("reconstruct", *files, "--method", "tkd", "--device", "cpu", "--progress", "none")
                if code == 0:
                    said = reconstruct(what_headers_say(suffix, files), method="tkd", device="cpu").chi
                    np.testing.assert_allclose(read_volume(folder / "chi.nii")[0], said, atol=1e-4)
        except Exception as error:
            raise AssertionError(f"{suffix} with the seed {number}: {error!r}") from error
    return trials


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("suffix", KINDS)
def test_damaged_images_are_read_as_their_headers_say_or_refused(tmp_path: Path, suffix: str) -> None:
    assert fuzz(tmp_path, suffix, 33, 0).n_read


@pytest.mark.long
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("suffix", KINDS)
def test_many_damaged_images_are_read_as_their_headers_say_or_refused(tmp_path: Path, suffix: str) -> None:
    trials = fuzz(tmp_path, suffix, 1000, 10_000)
    assert trials.n_read > 50 and trials.codes.keys() == {0, 2}
