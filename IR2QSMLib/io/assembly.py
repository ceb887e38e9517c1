"""Echoes checked against each other and put in order: from images to an acquisition."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import pairwise

from IR2QSMLib.core.errors import FieldInvalid, ParameterInvalid
from IR2QSMLib.core.tolerances import ECHO_TIME_TOLERANCE
from IR2QSMLib.core.units import B0_RANGE, GYROMAGNETIC_RATIO, TE_RANGE
from IR2QSMLib.io.acquisition import KINDS, Acquisition, Echo
from IR2QSMLib.io.phase_difference import SOURCE, resolve_phase_difference

MAX_B0_DIFFERENCE = 0.05
"""Largest relative difference between field strength and imaging frequency that is passed over in silence."""
TESLA_PER_GAUSS = 1e-4
ULTRASHORT = 5e-4
"""Echo times [s] of headers below this are doubted: they may be seconds that were taken for milliseconds."""


def assemble_acquisition(
    echoes: Sequence[Echo],
    *,
    echo_times: Sequence[float] | None = None,
    b0: float | None = None,
    notes: Sequence[str] = (),
) -> Acquisition:
    """Check the echoes of one scan against each other and put them in order.

    Magnitudes belong to phases by the echo times of the headers, where all images of both have one, else by order.

    Parameters
    ----------
    echoes
        Phases and magnitudes, or real and imaginary parts.
    echo_times
        The user's echo times [s] in the order of the echoes; by default those of the headers.
    b0
        The user's field strength [T]; by default that of the headers.
    notes
        Sentences for the user, to which others are added.

    Raises
    ------
    FieldInvalid
        When an image is missing, or the numbers of phases and magnitudes differ.
    GridMismatch
        When two images lie on different grids.
    ParameterInvalid
        When echo times or B0 are missing, out of range or contradictory, or the user's echo times are the headers' in
        another order.
    """
    left_out = [e.name for e in echoes if e.kind not in ("phase", "magnitude")]
    if left_out and any(e.kind == "phase" for e in echoes):  # real and imaginary parts hold nothing else
        echoes = [e for e in echoes if e.kind in ("phase", "magnitude")]
        notes = [*notes, f"Left out, as there is a phase: {', '.join(left_out)}."]
    echoes, difference_notes = resolve_phase_difference(echoes, echo_times)
    notes = [*notes, *difference_notes]
    counts = Counter(e.kind for e in echoes)
    _require_pairs(counts)
    by_kind = {kind: [e for e in echoes if e.kind == kind] for kind in counts}
    first = by_kind["phase" if "phase" in counts else "real"]
    times, times_source, time_notes = _echo_times(first, echo_times)
    notes = [*notes, *time_notes]
    if times_source == "header" and difference_notes:
        times_source = SOURCE
    order = sorted(range(len(times)), key=times.__getitem__)
    for kind, images in by_kind.items():
        matched, match_notes = _matched_to(first, images, times, echo_times is not None)
        by_kind[kind] = [matched[i] for i in order]
        notes += match_notes
    times = sorted(times)
    for te, next_te in pairwise(times):
        if next_te - te <= ECHO_TIME_TOLERANCE:
            raise ParameterInvalid(
                f"Two echoes have the echo time {1e3 * te:g} ms; give each once, with its own. If the volumes are a "
                "time series, choose one with --volume N, or take their complex mean with --volume mean.",
                option="te",
            )
    ordered = [e for kind in KINDS for e in by_kind.get(kind, [])]
    ordered = [ordered[0], *(e.on_grid_of(ordered[0]) for e in ordered[1:])]
    field_strength, b0_source, b0_notes = _field_strength(ordered, b0)
    return Acquisition(
        tuple(ordered),
        tuple(times),
        field_strength,
        ordered[0].grid,
        {"echo_times": times_source, "b0": b0_source},
        [*notes, *b0_notes],
    )


def _require_pairs(counts: Counter[str]) -> None:
    """Raise FieldInvalid unless every phase has a magnitude, or every real part an imaginary one."""
    partners = {"phase": "magnitude", "real": "imaginary", "imaginary": "real"}
    if not counts.keys() & partners.keys():
        present = ", ".join(f"{n} {kind}" for kind, n in counts.items()) or "no image"
        raise FieldInvalid(f"There is no phase ({present}); give phase and magnitude, or real and imaginary parts.")
    for kind, partner in partners.items():
        if kind not in counts:
            continue
        option = "magnitude" if partner == "magnitude" else None
        if partner not in counts:
            raise FieldInvalid(
                f"{counts[kind]} {kind} image{'s came' if counts[kind] > 1 else ' came'} without any {partner}; "
                + ("give the magnitude with --magnitude." if option else f"give the {partner} parts, too."),
                option=option,
            )
        if counts[kind] != counts[partner]:
            raise FieldInvalid(
                f"There are {counts[kind]} {kind} images and {counts[partner]} of {partner}; expected one of each for "
                "every echo.",
                option=option,
            )


def _echo_times(echoes: Sequence[Echo], user_times: Sequence[float] | None) -> tuple[list[float], str, list[str]]:
    """Echo times [s] in the order of the echoes, their source, and a note where there is a doubt about them."""
    if user_times is not None:
        if len(user_times) != len(echoes):
            raise ParameterInvalid(
                f"There are {len(echoes)} echoes and {len(user_times)} echo times; give one for each echo with --te.",
                option="te",
            )
        times = [float(te) for te in user_times]
        _require_echo_times(times)
        return times, "given", _note_other_header_times(echoes, times)
    for echo in echoes:
        if echo.count_mismatch is not None:
            n_volumes, n_times = echo.count_mismatch
            raise ParameterInvalid(
                f"{echo.name.partition(',')[0]} has {n_volumes} volumes and its header lists {n_times} echo times; "
                "give one for each echo with --te, or, if it is a time series, the volume with --volume N or "
                "--volume mean.",
                option="te",
            )
    missing = [e.name for e in echoes if e.echo_time is None]
    if missing:
        raise ParameterInvalid(
            f"No echo time is known of {missing[0]}"
            + (f" and {len(missing) - 1} more" if len(missing) > 1 else "")
            + "; give the echo times in seconds with --te, one for each echo.",
            option="te",
        )
    times = [e.echo_time or 0.0 for e in echoes]
    _require_echo_times(times)
    notes = []
    if min(times) < ULTRASHORT and 1e3 * max(times) <= TE_RANGE[1]:  # beyond, they are no seconds
        notes.append(
            f"The echo times of the headers are ultrashort, {_listed(times, 1e3)} ms; if they are seconds instead, say "
            f"--te {_listed(times, 1e3, ' ')}."
        )
    return times, "header", notes


def _require_echo_times(times: Sequence[float]) -> None:
    """Raise ParameterInvalid for echo times [s] out of range, and say which unit they seem to have."""
    low, high = TE_RANGE
    for te in times:
        if low <= te <= high:
            continue
        if low <= 1e-3 * te <= high:
            advice = f"they look like milliseconds: say --te {_listed(times, 1e-3, ' ')}."
        elif low <= 1e3 * te <= high:
            advice = f"the header seems to hold seconds: say --te {_listed(times, 1e3, ' ')}."
        else:
            advice = f"expected {low:.5f} to {high:g} s; give them with --te."
        raise ParameterInvalid(f"The echo times are {_listed(times)} s; {advice}", option="te")


def _listed(times: Sequence[float | None], factor: float = 1.0, separator: str = ", ") -> str:
    return separator.join("–" if te is None else f"{factor * te:g}" for te in times)


def _note_other_header_times(echoes: Sequence[Echo], times: Sequence[float]) -> list[str]:
    """A note where the user's echo times [s] are not the headers'; raises ParameterInvalid for another order."""
    different = next(((e, te) for e, te in zip(echoes, times, strict=True) if not _is_echo_time(e.echo_time, te)), None)
    if different is None:
        return []
    echo, te = different
    in_headers = [e.echo_time for e in echoes]
    if None not in in_headers and all(map(_is_echo_time, sorted(t or 0.0 for t in in_headers), sorted(times))):
        raise ParameterInvalid(
            f"{echo.name} has the echo time {1e3 * (echo.echo_time or 0.0):g} ms in its header and was given "
            f"{1e3 * te:g} ms: the times given are the headers' in another order. Give --te "
            f"{_listed(in_headers, separator=' ')}, as the images come, or leave it out.",
            option="te",
        )
    return [
        f"The headers have the echo times {_listed(in_headers, 1e3)} ms; {_listed(times, 1e3)} ms, which were given, "
        "were used."
    ]


def _is_echo_time(in_header: float | None, te: float) -> bool:
    """Whether a header's echo time [s], if it has one, is `te`."""
    return in_header is None or abs(in_header - te) <= ECHO_TIME_TOLERANCE


def _matched_to(
    first: list[Echo], images: list[Echo], times: Sequence[float], times_from_user: bool
) -> tuple[list[Echo], list[str]]:
    """Images of another kind in the order of the first kind, matched by the headers' echo times [s].

    `times` [s] are those of the first kind. The second value is a note where the echo times do not match.
    """
    if images is first or any(e.echo_time is None for e in images):
        return images, []
    first_times = [te if e.echo_time is None else e.echo_time for e, te in zip(first, times, strict=True)]
    matched = list(images)
    order = sorted(range(len(first_times)), key=first_times.__getitem__)
    for i, echo in zip(order, sorted(images, key=lambda e: e.echo_time or 0.0), strict=True):
        matched[i] = echo
        if _is_echo_time(echo.echo_time, first_times[i]):
            continue
        difference = (
            f"{echo.name} ({echo.kind}) has the echo time {1e3 * (echo.echo_time or 0.0):g} ms where the "
            f"{first[0].kind} has {1e3 * first_times[i]:g} ms; "
        )
        if not times_from_user:
            raise ParameterInvalid(f"{difference}give images of the same echoes.", option="magnitude")
        return images, [f"{difference}as echo times were given, the images were taken in the order in which they came."]
    return matched, []


def _field_strength(images: Sequence[Echo], user_b0: float | None) -> tuple[float, str, list[str]]:
    """Field strength [T], its source, and notes on contradictions between the headers."""
    in_headers = sorted({round(e.b0, 4) for e in images if e.b0})
    by_frequency = sorted({round(e.frequency / GYROMAGNETIC_RATIO, 3) for e in images if e.frequency})
    low, high = B0_RANGE
    notes: list[str] = []
    if user_b0 is not None:
        b0, source = user_b0, "given"
    elif in_headers:
        if len(in_headers) > 1:
            raise ParameterInvalid(
                f"The headers give {_listed(in_headers)} T; give images of one scan, or B0 with --b0.", option="b0"
            )
        b0, source = in_headers[0], "header"
        if low <= TESLA_PER_GAUSS * b0 <= high < b0:
            b0 = TESLA_PER_GAUSS * b0
            notes.append(f"The field strength {in_headers[0]:g} of the header was read as gauss: {b0:g} T.")
    elif by_frequency:
        b0, source = by_frequency[0], "imaging frequency"
    else:
        raise ParameterInvalid(
            f"No field strength is known of {images[0].name}; give B0 in tesla with --b0.", option="b0"
        )
    if not low <= b0 <= high:
        raise ParameterInvalid(
            f"B0 is {b0:g} T; expected {low:g} to {high:g} T. Give the field strength in tesla with --b0.", option="b0"
        )
    if by_frequency and abs(by_frequency[0] / b0 - 1.0) > MAX_B0_DIFFERENCE:
        notes.append(
            f"B0 is {b0:g} T and the imaging frequency belongs to {by_frequency[0]:g} T; if that is right, give it "
            "with --b0."
        )
    return b0, source, notes
