"""Volumes of a time series and single receive coils: which are used, and one acquisition for each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from IR2QSMLib.core.errors import FieldInvalid, ParameterInvalid
from IR2QSMLib.io.acquisition import Acquisition, Echo
from IR2QSMLib.io.assembly import assemble_acquisition

MEAN = "mean"
"""The volume that is the complex mean of all."""


def volume_number(text: str | int | None) -> int | None:
    """The number of the volume that `--volume` chooses, 0 for the mean, None without one; raises ParameterInvalid."""
    if text is None:
        return None
    word = str(text).strip().lower()
    if word == MEAN:
        return 0
    if not word.isdecimal() or int(word) < 1:
        raise ParameterInvalid(
            f"The volume is '{text}'; expected a number from 1, or mean, with --volume.", option="volume"
        )
    return int(word)


def assemble_scan(
    echoes: Sequence[Echo], volume: str | int | None = None, *, notes: Sequence[str] = (), **header: Any
) -> Acquisition:
    """Check the echoes of one scan and put them in order, those of each coil and volume by themselves.

    Parameters
    ----------
    echoes
        Of one scan, of each coil and volume where there are several.
    volume
        Number of the volume of a time series, from 1, or "mean" for the complex mean of all.
    notes
        Sentences for the user.
    header
        The user's `echo_times` and `b0`, as for `io.assembly.assemble_acquisition`.

    Returns
    -------
    Acquisition
        Of the first coil and volume; `coils` and `volumes` hold all of them.

    Raises
    ------
    ParameterInvalid
        When there are several volumes and none is chosen, or `volume` is none of them.
    FieldInvalid
        When single coils have one echo only.
    FieldInvalid, GridMismatch, ParameterInvalid
        As `io.assembly.assemble_acquisition` does.
    """
    n_volumes = max((e.volume for e in echoes), default=0)
    chosen = volume_number(volume)
    if n_volumes <= 1 and chosen is not None:
        raise ParameterInvalid(
            "--volume was given, and the scan has one volume of every echo; leave it out.", option="volume"
        )
    if n_volumes > 1 and chosen is None:
        name = next(e.name for e in echoes if e.volume)
        raise ParameterInvalid(
            f"{name.rpartition(', volume')[0] or name} is a time series of {n_volumes} volumes; "
            f"choose one with --volume 1 to --volume {n_volumes}, or take their complex mean with --volume mean.",
            option="volume",
        )
    if chosen is not None and chosen > n_volumes:
        raise ParameterInvalid(
            f"There is no volume {chosen}; the time series has {n_volumes}: say --volume 1 to --volume {n_volumes}, or "
            "--volume mean.",
            option="volume",
        )
    numbers = range(1, n_volumes + 1) if chosen == 0 else [chosen or 0]
    volume_notes = [f"The scan is the complex mean of {n_volumes} volumes."] if chosen == 0 else []
    names = dict.fromkeys(e.coil for e in echoes if e.coil)
    coils = []
    for coil in names if len(names) > 1 else [None]:
        of_coil = [e for e in echoes if coil is None or e.coil in (coil, "")]
        volumes = [
            assemble_acquisition([e for e in of_coil if e.volume in (n, 0)], notes=notes, **header) for n in numbers
        ]
        coils.append(replace(volumes[0], volumes=tuple(volumes) if len(volumes) > 1 else ()))
    if len(coils) == 1:
        return replace(coils[0], notes=[*coils[0].notes, *volume_notes])
    if len(coils[0].echo_times) < 2:
        raise FieldInvalid(
            f"{coils[0].echoes[0].name} is of one of {len(coils)} uncombined coils, and has one echo: their phases "
            "differ by offsets that only a second echo shows. Export the images of the combined coils."
        )
    coil_notes = [f"The images of {len(coils)} coils were combined (MCPC-3D-S)."]
    return replace(coils[0], coils=tuple(coils), notes=[*coils[0].notes, *volume_notes, *coil_notes])
