"""Options that several commands share: of the field, of the preprocessing, and of the methods."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from IR2QSMLib.core.choices import BACKGROUNDS, INPUTS, NON_FINITE, UNWRAPPINGS
from IR2QSMLib.core.errors import ParameterInvalid
from IR2QSMLib.core.units import FIELD_UNITS

if TYPE_CHECKING:
    from IR2QSMLib.inversion.registry import MethodInfo
    from IR2QSMLib.pipeline.metadata import FieldMetadata

PHASE_ONLY = (
    "echoes",
    "real",
    "imaginary",
    "volume",
    "manufacturer",
    "phase_range",
    "bipolar",
    "unwrapping",
    "accept_filtered",
)
PREPROCESSING = ("flip_sign", "background", "completion_steps", "keep")
"""Options of the preprocessing, which a local field does not need."""


def add_field_metadata(p: argparse.ArgumentParser, *, one_magnitude: bool = True) -> None:
    """What the numbers of a field mean, and the volumes beside it."""
    p.add_argument("--units", choices=FIELD_UNITS, help="unit of the field (default: what its JSON says, else ppm)")
    p.add_argument(
        "--b0", type=float, metavar="T", help="field strength [T], for phase and fields in hz, rad, rad/s or t"
    )
    p.add_argument(
        "--te", type=float, nargs="+", metavar="S", help="echo times [s] of phase, or of a field in rad; medi: spacing"
    )
    p.add_argument(
        "--b0-direction",
        type=float,
        nargs=3,
        metavar=("X", "Y", "Z"),
        help="in voxel axes; default: the patient's superior-inferior axis",
    )
    p.add_argument("--mask-labels", type=int, nargs="+", metavar="N", help="labels of the mask that belong to it")
    p.add_argument(
        "--mask-threshold", type=float, metavar="VALUE", help="the lowest value that belongs to a mask of probabilities"
    )
    magnitude = "medi: χ may change across its edges"
    if one_magnitude:
        p.add_argument("--magnitude", type=Path, metavar="FILE", help=magnitude)
    else:
        p.add_argument(
            "--magnitude",
            type=Path,
            nargs="+",
            metavar="FILE",
            help=f"phase: of its echoes, in one file or several; {magnitude}",
        )
    p.add_argument(
        "--noise", type=Path, metavar="FILE", help="medi, and pdf of a total field: standard error, in the field's unit"
    )
    p.add_argument(
        "--csf",
        type=Path,
        metavar="FILE",
        help="medi: the ventricles, in which χ is made uniform (0 with --reference none)",
    )
    p.add_argument("--non-finite", choices=NON_FINITE, default="refuse", help="NaN or Inf inside the mask")
    p.add_argument("--reference", default="mean", metavar="mean|none|LABELMAP", help="region whose mean χ is zero")


def field_metadata(args: argparse.Namespace) -> FieldMetadata:
    """The metadata of a field from the arguments; raises ParameterInvalid for several echo times or magnitudes."""
    from IR2QSMLib.pipeline.metadata import FieldMetadata

    if args.te is not None and len(args.te) > 1:
        raise ParameterInvalid(
            f"{len(args.te)} echo times were given; a local field in rad has one: give --te once.", option="te"
        )
    magnitude = args.magnitude
    if isinstance(magnitude, list):
        if len(magnitude) > 1:
            raise ParameterInvalid(f"{len(magnitude)} magnitudes were given; a field has one.", option="magnitude")
        magnitude = magnitude[0]
    return FieldMetadata(
        unit=args.units,
        b0=args.b0,
        echo_time=args.te[0] if args.te else None,
        b0_direction=args.b0_direction,
        mask_labels=args.mask_labels,
        mask_threshold=args.mask_threshold,
        non_finite=args.non_finite,
        magnitude=magnitude,
        noise=args.noise,
        csf=args.csf,
    )


def add_input_options(p: argparse.ArgumentParser) -> None:
    """The input, its mask, and the preprocessing of phase and total fields."""
    p.add_argument(
        "field",
        type=Path,
        metavar="FIELD",
        help="local or total field, phase of the first or of all echoes, or complex image: NIfTI, NRRD, MetaImage or "
        "PAR/REC; or a folder of a scan: DICOM, BIDS or PAR/REC",
    )
    p.add_argument(
        "mask",
        type=Path,
        nargs="?",
        help="mask on the same grid, zero outside the brain; of phase it can be made from the magnitude",
    )
    p.add_argument("--input", choices=INPUTS, default="auto", help="what FIELD is; auto: phase if it looks so")
    add_field_metadata(p, one_magnitude=False)
    p.add_argument("--echoes", type=Path, nargs="+", default=[], metavar="FILE", help="phase: the further echoes")
    p.add_argument(
        "--series",
        nargs="+",
        metavar="NAME",
        help="phase, total field: the scan meant, where a folder has several: numbers of DICOM series, or its name",
    )
    p.add_argument("--volume", metavar="N|mean", help="phase: of a time series, one volume, or the complex mean of all")
    p.add_argument(
        "--real", nargs="+", default=[], metavar="NAME", help="phase: series or files of a folder that are real parts"
    )
    p.add_argument(
        "--imaginary",
        nargs="+",
        default=[],
        metavar="NAME",
        help="phase: those that are imaginary parts; the files, where FIELD is the real part",
    )
    p.add_argument("--manufacturer", metavar="NAME", help="phase: of the scanner, where the headers do not say it")
    p.add_argument(
        "--phase-range",
        type=float,
        nargs=2,
        metavar=("LOW", "HIGH"),
        help="phase: the numbers that stand for −π and π; default: judged from the range",
    )
    p.add_argument("--flip-sign", action="store_true", help="phase, total field: the opposite sign")
    p.add_argument("--bipolar", action="store_true", help="phase: even echoes were read out backwards")
    p.add_argument(
        "--accept-filtered", action="store_true", help="phase: use it though it is high-pass filtered, as for SWI"
    )
    p.add_argument("--unwrapping", choices=UNWRAPPINGS, help="phase: exact along paths (default), or fast")
    p.add_argument("--background", choices=BACKGROUNDS, help="phase, total field: its removal (default: v-sharp)")
    p.add_argument(
        "--completion-steps",
        "--recover",
        type=int,
        metavar="N",
        help="phase, total field: steps of the harmonic completion, which estimates what the removal takes of the "
        "local field (default: 150, of one echo 0)",
    )


def input_kind(args: argparse.Namespace) -> str:
    """What the input is, by the user or, with 'auto', by its values; refuses options that do not go with it."""
    from IR2QSMLib.pipeline.inspection import detect_input

    kind: str = args.input
    if kind == "auto":
        kind = "phase" if args.echoes or args.imaginary else detect_input(args.field)
    total_field_excludes = PHASE_ONLY if args.field.is_dir() else (*PHASE_ONLY, "series")
    excluded = {
        "total-field": total_field_excludes,
        "local-field": (*PHASE_ONLY, "series", *PREPROCESSING),
    }.get(kind, ())
    for name in excluded:
        if getattr(args, name):
            raise ParameterInvalid(
                f"{_flag(name)} does not go with a {kind.replace('-', ' ')}, as which {args.field.name} "
                "was taken; say otherwise with --input.",
                option="input",
            )
    if kind == "phase" and args.units is not None:
        raise ParameterInvalid(
            f"{args.field.name} was taken for phase, which has no --units; say --input local-field or total-field if "
            "it is a field.",
            option="input",
        )
    return kind


def input_files(args: argparse.Namespace) -> list[Path]:
    """Every image and folder that the arguments name as input."""
    from IR2QSMLib.pipeline.inputs import REFERENCES

    region = None if args.reference in REFERENCES else Path(args.reference)
    single = [p for p in (args.mask, args.noise, args.csf, region) if p is not None]
    parts = [] if args.field.is_dir() else map(Path, args.imaginary)
    return [args.field, *args.echoes, *parts, *(args.magnitude or []), *single]


def add_method_options(p: argparse.ArgumentParser, methods: dict[str, MethodInfo]) -> None:
    """The options of all methods, as their dataclasses declare them: each once, with the methods that have it."""
    for name in dict.fromkeys(option for entry in methods.values() for option in entry.options):
        owners = {method: entry.options[name] for method, entry in methods.items() if name in entry.options}
        methods_by_help: dict[str, list[str]] = {}
        for method, (option, default) in owners.items():
            with_default = f"{method} ({default:g})" if _is_number(default) else method
            methods_by_help.setdefault(option.help, []).append(with_default)
        option = next(iter(owners.values()))[0]
        text = "; ".join(f"{', '.join(names)}: {help_text}" for help_text, names in methods_by_help.items())
        settings: dict[str, Any] = {"type": option.parse, "metavar": option.metavar, "choices": option.choices}
        if option.flag:
            settings = {"action": "store_true", "default": None}
        p.add_argument(_flag(name), help=text, **settings)
        for old_name in option.old_names:
            p.add_argument(_flag(old_name), dest=name, help=argparse.SUPPRESS, **settings)


def method_parameters(args: argparse.Namespace, methods: dict[str, MethodInfo]) -> dict[str, Any]:
    """The chosen method's parameters that the arguments set; raises ParameterInvalid for those of another method."""
    names = dict.fromkeys(option for entry in methods.values() for option in entry.options)
    chosen = {name: getattr(args, name) for name in names if getattr(args, name) is not None}
    refuse_other_methods(list(chosen), args.method, methods, lambda entry: entry.options)
    return chosen


def refuse_other_methods(
    names: list[str], method: str, methods: dict[str, MethodInfo], accepted: Callable[[MethodInfo], Iterable[str]]
) -> None:
    """Raise ParameterInvalid for options of other methods; `accepted` lists the options that a method has."""
    foreign = [name for name in names if name not in accepted(methods[method])]
    if not foreign:
        return
    owners = [name for name, entry in methods.items() if set(foreign) <= set(accepted(entry))]
    listed = " or ".join(filter(None, [", ".join(owners[:-1]), owners[-1] if owners else ""]))
    flags = " and ".join(map(_flag, foreign)) + (" belongs" if len(foreign) == 1 else " belong")
    raise ParameterInvalid(f"{flags} to --method {listed}, not to {method}.", option=foreign[0])


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
