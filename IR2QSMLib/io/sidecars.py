"""The JSON files (sidecars) of images, with what BIDS lets them inherit from the folders above."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from typing import Any

from IR2QSMLib.core.errors import FileUnreadable

BIDS_FOLDERS = ("anat", "dwi", "fmap", "func", "perf", "swi")
"""Folders of a BIDS dataset that hold images."""


def image_stem(path: Path) -> str:
    """The name of an image file without its extension."""
    return re.sub(r"\.(nii(\.gz)?|nrrd|nhdr|mha|mhd)$", "", path.name, flags=re.IGNORECASE)


def read_sidecar(path: Path) -> dict[str, Any]:
    """The metadata of an image: the JSON object beside it over those that it inherits; empty without any.

    By BIDS, a JSON file holds for all images in its folder and below that have its suffix and all its entities.

    Raises
    ------
    FileUnreadable
        When a file is not a JSON object.
    """
    metadata: dict[str, Any] = {}
    for file in _sidecar_files(path):
        try:
            content = json.loads(file.read_text(encoding="utf-8-sig"))
        except (OSError, RecursionError, ValueError) as error:
            raise FileUnreadable(f"{file.name} is not JSON that can be read; mend or remove it.") from error
        if not isinstance(content, dict):
            raise FileUnreadable(f"{file.name} holds no JSON object; expected the names and values of BIDS.")
        metadata |= content
    return metadata


def _sidecar_files(path: Path) -> list[Path]:
    """The JSON files that hold for an image, the most specific one last."""
    stem = image_stem(path)
    *entities, suffix = stem.split("_")
    files: list[Path] = []
    if entities and all("-" in entity for entity in entities):
        for folder in reversed(_folders_up_to_dataset(path)):
            applicable = []
            for file in folder.glob(f"*{suffix}.json"):
                *required, file_suffix = file.stem.split("_")
                if file_suffix == suffix and set(required) <= set(entities):
                    applicable.append((len(required), file.name, file))
            files += [file for _, _, file in sorted(applicable)]
    # The parts of an image may share one file without the entity `part`, whatever the rest of the name.
    files += [path.with_name(re.sub(r"_part-[a-z]+", "", stem) + ".json"), path.with_name(f"{stem}.json")]
    return [file for file in dict.fromkeys(files) if file.is_file()]


def _folders_up_to_dataset(path: Path) -> list[Path]:
    """The folder of an image and those above it, up to that of its BIDS dataset."""
    folder = path.parent.resolve()
    folders = [folder]
    while not (folder / "dataset_description.json").is_file():
        if folder.name not in BIDS_FOLDERS and not folder.name.startswith(("sub-", "ses-")):
            break
        folder = folder.parent
        folders.append(folder)
    return folders


def number(value: Any) -> float | None:
    """A JSON number, also one in quotes, or None for anything else."""
    if isinstance(value, str) and re.fullmatch(r"\s*[-+]?\d{1,20}(\.\d*)?([eE][-+]?\d{1,3})?\s*", value):
        return float(value)
    if not isinstance(value, int | float) or isinstance(value, bool):
        return None
    try:
        return float(value)
    except OverflowError:  # JSON has no largest whole number; callers refuse what is not finite
        return math.inf
