"""Options that several commands have: what a field is, what comes before a local field, and those of the methods."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from IR2QSMLib.core.choices import BACKGROUNDS, INPUTS, NON_FINITE, UNWRAPPINGS
from IR2QSMLib.core.errors import ParameterInvalid
from IR2QSMLib.core.units import FIELD_UNITS

if TYPE_CHECKING:
    from IR2QSMLib.inversion.registry import Entry
    from IR2QSMLib.pipeline.metadata import FieldMetadata

PHASE_ONLY = ("echoes", "series", "phase_range", "bipolar", "unwrapping")
PREPROCESSING = ("flip_sign", "background", "recover", "keep")
"""Options of what comes before a local field."""


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
    magnitude = "medi: its edges are spared"
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
    p.add_argument("--csf", type=Path, metavar="FILE", help="medi: the ventricles, made uniform (--reference none: 0)")
    p.add_argument("--non-finite", choices=NON_FINITE, default="refuse", help="NaN or Inf inside the mask")
    p.add_argument("--reference", default="mean", metavar="mean|none|LABELMAP", help="region whose mean χ is zero")


def metadata_of(args: argparse.Namespace) -> FieldMetadata:
    """The metadata of a field that the arguments give; raises ParameterInvalid for several echo times or magnitudes."""
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
        non_finite=args.non_finite,
        magnitude=magnitude,
        noise=args.noise,
        csf=args.csf,
    )


def add_input_options(p: argparse.ArgumentParser) -> None:
    """The field, the mask, and what comes before a local field."""
    p.add_argument(
        "field",
        type=Path,
        metavar="FIELD",
        help="local or total field, or phase of the first or of all echoes: NIfTI, NRRD or MetaImage; or a folder of a "
        "scan: DICOM or BIDS",
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
    p.add_argument("--series", type=int, nargs="+", metavar="N", help="phase: numbers of the DICOM series meant")
    p.add_argument(
        "--phase-range",
        type=float,
        nargs=2,
        metavar=("LOW", "HIGH"),
        help="phase: the numbers that stand for −π and π; default: judged from the range",
    )
    p.add_argument("--flip-sign", action="store_true", help="phase, total field: the opposite sign")
    p.add_argument("--bipolar", action="store_true", help="phase: even echoes were read out backwards")
    p.add_argument("--unwrapping", choices=UNWRAPPINGS, help="phase: exact along paths (default), or fast")
    p.add_argument("--background", choices=BACKGROUNDS, help="phase, total field: its removal (default: v-sharp)")
    p.add_argument(
        "--recover",
        type=int,
        metavar="N",
        help="phase, total field: steps that estimate what the removal takes of the local field (default: 150, of one "
        "echo 0)",
    )


def input_kind(args: argparse.Namespace) -> str:
    """What the input is, as the user says or, with 'auto', as it looks; refuses options that do not go with it."""
    from IR2QSMLib.pipeline.identify import detect_input

    kind: str = args.input
    if kind == "auto":
        kind = "phase" if args.echoes else detect_input(args.field)
    unfit = {"total-field": PHASE_ONLY, "local-field": (*PHASE_ONLY, *PREPROCESSING)}.get(kind, ())
    for name in unfit:
        if getattr(args, name):
            raise ParameterInvalid(
                f"--{name.replace('_', '-')} does not go with a {kind.replace('-', ' ')}, as which {args.field.name} "
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
    return [args.field, *args.echoes, *(args.magnitude or []), *single]


def add_method_options(p: argparse.ArgumentParser, methods: dict[str, Entry]) -> None:
    """The options of all methods, as their dataclasses declare them: each once, with the methods that have it."""
    for name in dict.fromkeys(option for entry in methods.values() for option in entry.options):
        owners = {m: entry.options[name] for m, entry in methods.items() if name in entry.options}
        texts: dict[str, list[str]] = {}
        for method, (option, default) in owners.items():
            shown = method if default in (None, False) else f"{method} ({default:g})" if _is_number(default) else method
            texts.setdefault(option.help, []).append(shown)
        option = next(iter(owners.values()))[0]
        flags = [f"--{n.replace('_', '-')}" for n in (name, *option.old_names)]
        text = "; ".join(f"{', '.join(who)}: {what}" for what, who in texts.items())
        if option.flag:
            p.add_argument(*flags, action="store_true", default=None, help=text)
        else:
            p.add_argument(*flags, type=option.parse, metavar=option.metavar, choices=option.choices, help=text)


def method_parameters(args: argparse.Namespace, methods: dict[str, Entry]) -> dict[str, Any]:
    """What the arguments say of the chosen method's parameters; raises ParameterInvalid for those of another one."""
    names = dict.fromkeys(option for entry in methods.values() for option in entry.options)
    chosen = {name: getattr(args, name) for name in names if getattr(args, name) is not None}
    own = methods[args.method].options
    require_owned([name for name in chosen if name not in own], args.method, methods, lambda e: tuple(e.options))
    return chosen


def require_owned(names: list[str], method: str, methods: dict[str, Entry], of: Any) -> None:
    """Raise ParameterInvalid for options that the method has not; `of` lists those of an entry."""
    if not names:
        return
    owners = [name for name, entry in methods.items() if set(names) <= set(of(entry))]
    listed = " or ".join(filter(None, [", ".join(owners[:-1]), owners[-1] if owners else ""]))
    flags = " and ".join(f"--{name.replace('_', '-')}" for name in names)
    raise ParameterInvalid(f"{flags} belongs to --method {listed}, not to {method}.", option=names[0])


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
