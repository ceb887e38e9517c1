"""How many heads and patches the rounds of a training run have."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from IR2QSMLib.core.errors import ParameterInvalid

OLD_NAMES = {
    "patch": "patch_size",
    "batch": "batch_size",
    "volumes": "n_heads",
    "patches": "patches_per_head",
    "turns": "rounds_per_set",
    "whole_brain": "whole_brain_map_share",
    "whole_brain_share": "whole_brain_map_share",
    "voxel": "voxel_size",
}
"""Names of the fields in recipes of version 0.1.0."""


@dataclass(frozen=True)
class Sampling:
    """Which heads are drawn, and how patches are cut from them and batched.

    Raises
    ------
    ParameterInvalid
        For values that no round can have.
    """

    patch_size: int = 48
    """Edge of a patch [voxels]."""
    batch_size: int = 8
    """Patches a step."""
    n_heads: int = 4
    """Heads in a set; a round is cut from one set."""
    patches_per_head: int = 20
    """Patches cut from each head."""
    rounds_per_set: int = 1
    """Rounds that one set of heads lasts, each with other patches: with few heads a round, its steps are alike."""
    seed: int = 0
    whole_brain_map_share: float = 0.0
    """Share of the heads whose first map begins from the map of the bundled whole-brain network."""
    voxel_size: float | None = None
    """Edge of cubic voxels [mm], B0 along z, for a network that runs on such a grid; None draws voxels and B0."""

    def __post_init__(self) -> None:
        if self.seed < 0:
            raise ParameterInvalid(
                f"The seed is {self.seed}; expected 0 or more: below lie the held-out heads.", option="seed"
            )
        # A patch of 16 is 2 voxels wide at the coarsest scale, where oneDNN's bfloat16 gradients read foreign memory.
        if self.patch_size % 8 or not 24 <= self.patch_size <= 96:
            raise ParameterInvalid(
                f"The patch is {self.patch_size} voxels; expected a multiple of 8 from 24 to 96.", option="patch"
            )
        counts = (self.batch_size, self.n_heads, self.patches_per_head, self.rounds_per_set)
        if (
            min(counts) < 1
            or self.patches_per_head % self.rounds_per_set
            or (self.n_heads * self.patches_per_head // self.rounds_per_set) % self.batch_size
        ):
            raise ParameterInvalid(
                f"{self.n_heads} heads × {self.patches_per_head} patches in {self.rounds_per_set} rounds give no whole "
                f"number of batches of {self.batch_size}; change --heads, --patches, --rounds-per-set or --batch.",
                option="batch",
            )

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Sampling:
        """The sampling of a recipe, also of one that version 0.1.0 wrote."""
        return cls(**{OLD_NAMES.get(name, name): value for name, value in values.items()})
