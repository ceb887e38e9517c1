"""Which NIfTI files of a folder are one scan: by subject, session, run, folder, name, series, time and echo times."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from IR2QSMLib.core.errors import FieldInvalid, FileUnreadable, ParameterInvalid
from IR2QSMLib.core.tolerances import ECHO_TIME_TOLERANCE
from IR2QSMLib.io.image_kind import COMPLEX, KIND_BY_LAST_WORD, coil_of, kind_by_name, names_phase_difference
from IR2QSMLib.io.sidecars import image_stem, number, read_sidecar

SAME_SCAN_KEYS = ("StudyInstanceUID", "SeriesInstanceUID", "SeriesNumber", "AcquisitionTime", "AcquisitionDateTime")
"""Metadata in which the single echoes of one scan that lie in several groups of names have to agree."""


@dataclass
class FileGroup:
    """The files of a folder whose names differ in echo and kind of image only."""

    name: str
    """Folder and the part of the names that they share."""
    paths: list[Path] = field(default_factory=list)
    kinds: dict[Path, str | None] = field(default_factory=dict)

    def of_kind(self, *kinds: str | None) -> list[Path]:
        """The files of these kinds."""
        return [p for p in self.paths if self.kinds[p] in kinds]

    def join(self, paths: Iterable[Path], kind: str | None = None) -> None:
        """Add files, as images of `kind` where they state none."""
        for path in paths:
            if path not in self.paths:
                self.paths.append(path)
            self.kinds[path] = self.kinds.get(path) or kind


def find_scans(folder: Path, kinds: dict[Path, str | None]) -> list[FileGroup]:
    """The scans with phase, each with its magnitudes, among files in the order of their names.

    Parameters
    ----------
    folder
        Names of scans are relative to it.
    kinds
        Kind of image of each file.

    Returns
    -------
    list of FileGroup
        Those that have both phase and magnitude, or real and imaginary parts.
    """
    groups: dict[str, FileGroup] = {}
    for path, kind in kinds.items():
        name = (path.parent.relative_to(folder) / _shared_name(path)).as_posix()
        group = groups.setdefault(name, FileGroup(name))
        group.paths.append(path)
        group.kinds[path] = kind
    for group in groups.values():
        _mend_kinds(group)
    scans = _merge_single_echoes([g for g in groups.values() if g.of_kind("phase", "real", "imaginary", COMPLEX)])
    others = [g for g in groups.values() if not any(g is s for s in scans)]
    for scan in scans:
        phases = scan.of_kind("phase")
        if phases and not scan.of_kind("magnitude"):
            _add_magnitudes(scan, phases, others)
    parts: dict[str, list[FileGroup]] = {}  # names beyond BIDS may separate real and imaginary parts
    for scan in scans:
        if not scan.of_kind("phase", COMPLEX) and bool(scan.of_kind("real")) != bool(scan.of_kind("imaginary")):
            parts.setdefault(str(scan.paths[0].parent), []).append(scan)
    for pair in parts.values():
        if len(pair) == 2:
            pair[0].join(pair[1].paths)
            pair[0].kinds |= pair[1].kinds
    return [
        s
        for s in scans
        if (s.of_kind("phase") and s.of_kind("magnitude"))
        or (s.of_kind("real") and s.of_kind("imaginary"))
        or s.of_kind(COMPLEX)
    ]


def _mend_kinds(group: FileGroup) -> None:
    """Call those images of a group magnitudes that only their sidecars call phase, or that are named real.

    Converters copy the type of Philips' phases into the sidecars of their magnitudes, or call magnitudes real: where
    there are phases and no magnitude, names that say phase are right, and a real part without an imaginary one is none.
    """
    phases, real = group.of_kind("phase"), group.of_kind("real")
    if not phases or group.of_kind("magnitude"):
        return
    named = [p for p in phases if kind_by_name(p) == "phase"]
    unnamed = [p for p in phases if p not in named]
    magnitudes = unnamed if named and len(named) == len(unnamed) else []
    if not magnitudes and len(real) == len(phases) and not group.of_kind("imaginary"):
        magnitudes = real
    group.kinds |= dict.fromkeys(magnitudes, "magnitude")


def choose_scan(folder: Path, scans: list[FileGroup], chosen: Sequence[int | str] | None) -> FileGroup:
    """The scan that the user chose, or the only one, field maps left aside; raises ParameterInvalid."""
    listed = "; ".join(s.name for s in scans)
    if chosen is not None:
        picked: list[FileGroup] = []
        for word in map(str, chosen):
            matches = [s for s in scans if s.name == word] or [s for s in scans if word in _names(s)]
            if len(matches) != 1:
                raise ParameterInvalid(
                    f"{'No scan' if not matches else f'{len(matches)} scans'} in '{folder.name}' "
                    f"{'is' if not matches else 'are'} called '{word}'; choose among {listed}.",
                    option="series",
                )
            picked += [m for m in matches if m not in picked]
        for other in picked[1:]:
            picked[0].join(other.paths)
            picked[0].kinds |= other.kinds
        return picked[0]
    if len(scans) > 1:
        names = {s.name for s in scans}
        scans_of_echoes = [s for s in scans if not _is_difference(s) and _name_of_combined(s.name) not in names]
        if len(scans_of_echoes) == 1:
            return scans_of_echoes[0]
        raise ParameterInvalid(
            f"The folder '{folder.name}' holds {len(scans)} scans with phase: {listed}. Choose one with --series NAME, "
            "such as --series "
            f"{scans[0].name if ' ' not in scans[0].name else repr(scans[0].name)}.",
            option="series",
        )
    return scans[0]


def require_phase(folder: Path, kinds: dict[Path, str | None], scans: list[FileGroup]) -> None:
    """Raise FileUnreadable where no file is a phase, FieldInvalid where a phase has no magnitude."""
    if scans:
        return
    phases = [p.name for p, kind in kinds.items() if kind in ("phase", "real", "imaginary")]
    if phases:
        raise FieldInvalid(
            f"The folder '{folder.name}' holds the phase {phases[0]}"
            + (f" and {len(phases) - 1} more" if len(phases) > 1 else "")
            + ", but no magnitude of the same scan and echo times (or imaginary beside real part); give the phase "
            "images themselves, and theirs with --magnitude.",
            option="magnitude",
        )
    fields = [p.name for p, kind in kinds.items() if kind == "field"]
    advice = (
        f"{fields[0]} is a map of the field: give that file with --input total-field."
        if fields
        else "give the phase itself, and the magnitude with --magnitude."
    )
    raise FileUnreadable(
        f"The folder '{folder.name}' holds {len(kinds)} NIfTI images, none of which its name (part-phase, _ph) or "
        f"its sidecar (ImageType) says to be a phase: {_shortened([p.name for p in kinds])}; {advice}"
    )


def _shortened(names: list[str]) -> str:
    return ", ".join(names[:6]) + (f" and {len(names) - 6} more" if len(names) > 6 else "")


def _shared_name(path: Path) -> str:
    """The part of a name that the images of one scan share."""
    stem = re.sub(r"_(part-[a-z]+|echo-?\d+|e\d+|te-?\d+)(?=_|$)", "", image_stem(path), flags=re.IGNORECASE)
    coil = coil_of(path)
    if coil:
        stem = re.sub(rf"(^|_)(coil|channel|chan|ch|c)-?{coil}(?=_|$)", "", stem, flags=re.IGNORECASE)
    return re.sub(rf"((^|_)({'|'.join(KIND_BY_LAST_WORD)})\d?)+$", "", stem, flags=re.IGNORECASE) or "images"


def _name_of_combined(name: str) -> str:
    """The name that the scan of uncombined coils would have if these were combined; empty for another scan."""
    combined = re.sub(r"_?(rec-)?uncombined(?=_|$)", "", name)
    return combined if combined != name else ""


def names_of_file(path: Path) -> set[str]:
    """What a user may call an image file: its name with or without extension, its series."""
    header = read_sidecar(path)
    return {path.name, image_stem(path), str(header.get("SeriesNumber")), str(header.get("SeriesDescription"))}


def _names(scan: FileGroup) -> set[str]:
    """What a user may call a scan."""
    series = {str(read_sidecar(p).get("SeriesNumber")) for p in scan.paths}
    return {scan.name, scan.name.rsplit("/", 1)[-1], *series} - {"None"}


def _is_difference(scan: FileGroup) -> bool:
    return any(names_phase_difference(p.name) or "EchoTime1" in read_sidecar(p) for p in scan.of_kind("phase"))


def echo_times_of(paths: Iterable[Path]) -> list[float]:
    """The echo times [s] that the sidecars of images have, rising."""
    times: list[float] = []
    for path in paths:
        stated = read_sidecar(path).get("EchoTime")
        times += [t for t in map(number, stated if isinstance(stated, list) else [stated]) if t is not None]
    return sorted(times)


def _merge_single_echoes(groups: list[FileGroup]) -> list[FileGroup]:
    """Groups of one folder with one phase each and other echo times are one scan where series and time agree."""
    merged: dict[tuple[Any, ...], FileGroup] = {}
    for group in groups:
        phases = group.of_kind("phase", "real")
        header = read_sidecar(phases[0]) if phases else {}
        same = tuple(str(header.get(key)) for key in SAME_SCAN_KEYS)
        is_single = len(phases) == 1 and any(value != "None" for value in same[1:3])
        key = (phases[0].parent, same) if is_single else (group.name,)
        times = echo_times_of(phases)
        if key in merged and times and not _close(times[0], echo_times_of(merged[key].of_kind("phase", "real"))):
            merged[key].join(group.paths)
            merged[key].kinds |= group.kinds
        else:
            merged[(group.name,) if key in merged else key] = group
    return list(merged.values())


def _close(te: float, times: Iterable[float]) -> bool:
    return any(abs(te - t) <= ECHO_TIME_TOLERANCE for t in times)


def _add_magnitudes(scan: FileGroup, phases: list[Path], others: list[FileGroup]) -> None:
    """Add the magnitudes of a scan: in its own group, whatever their type, else in the most similar other one."""
    times = echo_times_of(phases)

    def fits(paths: list[Path]) -> bool:
        own = echo_times_of(paths)
        return bool(paths) and (all(_close(t, own) for t in times) if times and own else not times and not own)

    unnamed = scan.of_kind(None)
    if fits(unnamed):
        scan.join(unnamed, "magnitude")
        return
    entities = _entities(phases[0])
    header = read_sidecar(phases[0])
    candidates = []
    for group in others:
        first = group.paths[0]
        if first.parent != phases[0].parent or _entities(first) != entities:  # before any sidecar is read
            continue
        magnitudes = group.of_kind("magnitude")
        if not magnitudes and _same_series(header, first):
            magnitudes = group.of_kind(None)
        if fits(magnitudes):
            candidates.append((_distance(scan, header, group), group.name, magnitudes))
    if candidates:
        scan.join(min(candidates)[2], "magnitude")


def _entities(path: Path) -> tuple[str, ...]:
    """The BIDS entities in which the images of one scan agree."""
    return tuple(re.findall(r"(?:^|_)((?:sub|ses|run|task|coil)-[^_.]+)", path.name))


def _same_series(header: dict[str, Any], path: Path) -> bool:
    own = read_sidecar(path).get("SeriesNumber")
    return own is not None and own == header.get("SeriesNumber")


def _distance(scan: FileGroup, header: dict[str, Any], group: FileGroup) -> tuple[float, ...]:
    """How far a group of magnitudes is from a scan: other time, difference of series numbers, of names."""
    other = read_sidecar(group.paths[0])
    series = [number(h.get("SeriesNumber")) for h in (header, other)]
    gap = abs(series[0] - series[1]) if series[0] is not None and series[1] is not None else 1e6
    n_shared = sum(a == b for a, b in zip(scan.name, group.name, strict=False))
    time_differs = header.get("AcquisitionTime") != other.get("AcquisitionTime")
    processed = any(word in group.name.lower() for word in ("swi", "mip"))
    return (float(processed), float(time_differs), gap, -float(n_shared))
