"""Which volumes of a DICOM folder the user's names choose, and which magnitudes belong to phases."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from IR2QSMLib.core.errors import GridInvalid, ParameterInvalid
from IR2QSMLib.core.tolerances import POSITION_DIGITS
from IR2QSMLib.io.dicom_groups import Volume, describe, grid_key, name_of, positions_of
from IR2QSMLib.io.image_kind import PROCESSED_TYPES, words_of


def choose_scans(
    scans: dict[str, list[Volume]], known_series: set[int], series: Sequence[int | str], where: str
) -> tuple[dict[str, list[Volume]], set[int]]:
    """The scans that numbers or names choose, and the numbers; raises ParameterInvalid for unknown ones."""
    chosen_scans: dict[str, list[Volume]] = {}
    numbers: set[int] = set()
    for word in map(str, series):
        matches = [n for n, scan in scans.items() if word == n or word in {str(v[0].series) for v in scan}]
        if not matches and not (word.isdigit() and int(word) in known_series):
            raise ParameterInvalid(f"There is no series {word} in {where}; choose among them.", option="series")
        chosen_scans |= {n: scans[n] for n in matches}
        numbers |= {scan[0][0].series for scan in chosen_scans.values()}
        if word.isdigit():
            numbers.add(int(word))
    return chosen_scans, numbers


def choose_parts(volumes: Sequence[Volume], real: Sequence[str], imaginary: Sequence[str]) -> list[Volume]:
    """The volumes that the user calls real and imaginary parts.

    Parameters
    ----------
    volumes
        Of a folder.
    real, imaginary
        Numbers or descriptions of series; "7:2" is the second image at each place of series 7.

    Raises
    ------
    ParameterInvalid
        When only one of the two parts was named, or a name fits no series.
    """
    parts: list[Volume] = []
    for kind, words in (("real", real), ("imaginary", imaginary)):
        if not words:
            other = "imaginary" if kind == "real" else "real"
            raise ParameterInvalid(f"--{other} came without --{kind}; name the {kind} parts, too.", option=kind)
        for word in words:
            series, _, n = word.partition(":")
            matches = [v for v in volumes if series in (str(v[0].series), v[0].description)]
            if n:
                matches = [v for v in matches if n == str(v[0].volume)]
            if not matches:
                raise ParameterInvalid(
                    f"No series is called '{word}'; choose --{kind} among {describe(volumes)}.", option=kind
                )
            parts += [[replace(s, kind=kind, volume=0 if n else s.volume) for s in v] for v in matches]
    return parts


def advice_on_parts(volumes: Sequence[Volume]) -> str:
    """How to name real and imaginary parts where the kind of some images is unknown; else how to go on."""
    unknown = [v for v in volumes if v[0].kind is None]
    several = next((v for v in unknown if v[0].volume > 0), None)
    if several is not None:
        series = several[0].series
        n = max(v[0].volume for v in unknown if v[0].series == series)
        return (
            f"Series {series} has {n} images at each place, and nothing says what they are. GE writes magnitude, "
            f"phase if there is one, real and imaginary part, in this order: if so, say --real {series}:{n - 1} "
            f"--imaginary {series}:{n}."
        )
    if len({v[0].series for v in unknown}) > 1:
        first, second = sorted({v[0].series for v in unknown})[:2]
        return (
            "If two series are real and imaginary parts, name them, such as "
            f"--real {first} --imaginary {second}; else export phase images from the scanner."
        )
    return "Export phase images from the scanner."


def magnitudes_of(phases: list[Volume], volumes: list[Volume], chosen_series: set[int] | None) -> list[Volume]:
    """The magnitude of each phase: of its study, on its grid, with its echo time, of the series nearest to it.

    Volumes of unknown kind are taken from the phase's own series, or where there is no other magnitude. Of a phase
    that may be the difference of two echoes, both magnitudes are taken.
    """
    first = phases[0][0]
    beside = [v for v in volumes if grid_key(v[0]) == grid_key(first) and v[0].study == first.study]
    candidates = [v for v in beside if v[0].kind == "magnitude" and not words_of(v[0].image_type) & PROCESSED_TYPES]
    if not candidates:
        candidates = [v for v in beside if v[0].kind is None and not words_of(v[0].image_type) & PROCESSED_TYPES]
    else:
        own_series = {v[0].uid for v in phases}
        candidates += [v for v in beside if v[0].kind is None and v[0].uid in own_series]
    if chosen_series is not None and any(v[0].series in chosen_series for v in candidates):
        candidates = [v for v in candidates if v[0].series in chosen_series]

    def distance(v: Volume) -> tuple[Any, ...]:
        return (
            v[0].uid != first.uid,
            "NORM" in v[0].image_type,
            abs(v[0].series - first.series),
            v[0].series,
            v[0].kind is None,
        )

    magnitudes = []
    for phase in phases:
        s = phase[0]
        same_echo = [v for v in candidates if v[0].echo_time == s.echo_time and v[0].coil == s.coil]
        same_echo = [v for v in same_echo if v[0].volume in (s.volume, 0)]
        if same_echo:
            magnitudes.append(min(same_echo, key=distance))
    if len(phases) == 1 and magnitudes:
        echoes = [v for v in candidates if v[0].uid == magnitudes[0][0].uid]
        if len(echoes) == 2 and magnitudes[0] is not echoes[0]:
            magnitudes = echoes
    if magnitudes:
        require_equal_counts([*phases, *magnitudes])
    return [v for n, v in enumerate(magnitudes) if not any(v is u for u in magnitudes[:n])]


def require_equal_counts(volumes: list[Volume]) -> None:
    """Raise GridInvalid when one volume has fewer slices than another."""
    longest = max(volumes, key=len)
    for v in volumes:
        if len(v) < len(longest):
            present = {round(p, POSITION_DIGITS) for p in positions_of(v)}
            missing = [p for p in positions_of(longest) if round(p, POSITION_DIGITS) not in present]
            places = f" (none at {', '.join(f'{p:.1f}' for p in missing[:3])} mm)" if missing else ""
            raise GridInvalid(
                f"{name_of(v)} ({v[0].kind}) has {len(v)} slices where {name_of(longest)} ({longest[0].kind}) has "
                f"{len(longest)}{places}; export the whole scan again."
            )
