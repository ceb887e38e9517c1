"""Phase differences: one phase that is the difference of two echoes, as field-mapping sequences store it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from IR2QSMLib.core.errors import ParameterInvalid
from IR2QSMLib.core.tolerances import ECHO_TIME_TOLERANCE
from IR2QSMLib.io.acquisition import Echo
from IR2QSMLib.io.image_kind import names_phase_of_one_echo

SOURCE = "difference of two echo times in the headers"
"""What the provenance calls the source of the time of a phase difference."""


def resolve_phase_difference(
    echoes: Sequence[Echo], user_times: Sequence[float] | None
) -> tuple[list[Echo], list[str]]:
    """Give a phase difference the time TE2 − TE1, and the magnitude of its later echo.

    One phase is a difference where its header has EchoTime1 and EchoTime2, or where it stands beside the magnitudes of
    exactly two echo times of which the later one is its own. A phase that BIDS entities name as that of one echo is
    none.

    Parameters
    ----------
    echoes
        Of one scan.
    user_times
        The user's echo times [s], which overrule the difference.

    Returns
    -------
    echoes, notes
        The same echoes and no note unless there is a phase difference.

    Raises
    ------
    ParameterInvalid
        When a phase says that it is a difference, and its two echo times are not known.
    """
    phases = [e for e in echoes if e.kind == "phase"]
    if len(phases) != 1:
        return list(echoes), []
    phase, magnitudes = phases[0], [e for e in echoes if e.kind == "magnitude"]
    times = sorted({round(e.echo_time, 6) for e in magnitudes if e.echo_time is not None})
    beside_two = len(magnitudes) == len(times) == 2 and (phase.is_difference or _is_at(phase, times[1]))
    two_times = phase.difference_of or ((times[0], times[1]) if beside_two else None)
    if two_times is None:
        if phase.is_difference and user_times is None:
            raise ParameterInvalid(
                f"{phase.name} is a phase difference, and the two echo times are not known; give their difference, "
                "TE2 − TE1 in seconds, with --te.",
                option="te",
            )
        return list(echoes), []
    spacing = abs(two_times[1] - two_times[0])
    if spacing <= ECHO_TIME_TOLERANCE:
        return list(echoes), []
    magnitude = sorted(magnitudes, key=lambda e: e.echo_time or 0.0)[-1:]
    resolved = [replace(e, echo_time=spacing, is_difference=True) for e in (phase, *magnitude)]
    others = [e for e in echoes if e.kind not in ("phase", "magnitude")]
    note = (
        f"{phase.name} is the phase difference of the echoes at {1e3 * min(two_times):g} and "
        f"{1e3 * max(two_times):g} ms: "
    )
    if user_times is None:
        note += (
            f"their spacing, {1e3 * spacing:.4g} ms, is its time. If it is the phase of one echo, give that with --te."
        )
    else:
        note += f"their spacing is {1e3 * spacing:.4g} ms; the time given with --te is used instead."
    return [*resolved, *others], [note]


def _is_at(phase: Echo, later_time: float) -> bool:
    """Whether an unmarked phase can be the difference that ends with the echo at this time [s]."""
    if phase.echo_time is None or names_phase_of_one_echo(phase.name):
        return False
    return abs(phase.echo_time - later_time) <= ECHO_TIME_TOLERANCE
