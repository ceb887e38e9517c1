"""The command line's way from phase, or a total field, to a local field: options, `ir2qsm fieldmap`, what it prints."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from IR2QSMLib.core.errors import MaskInvalid, OutputUnwritable, ParameterInvalid
from IR2QSMLib.core.units import FIELD_UNITS

if TYPE_CHECKING:
    from IR2QSMLib.cli.console import Console
    from IR2QSMLib.core.progress import Progress
    from IR2QSMLib.pipeline.preprocessed import PreprocessedField

INPUTS = ("auto", "phase", "total-field", "local-field")
BACKGROUNDS = ("v-sharp", "pdf", "lbv")
UNWRAPPINGS = ("path", "laplacian")
PHASE_ONLY = ("echoes", "series", "phase_range", "bipolar", "unwrapping")
INTERMEDIATES = ("flip_sign", "background", "recover", "keep")
"""Options of what comes before a local field."""


def add_field_options(p: argparse.ArgumentParser) -> None:
    """The options by which `reconstruct` and `fieldmap` are given a phase or a field."""
    p.add_argument(
        "field",
        type=Path,
        metavar="FIELD",
        help="local or total field, or phase of the first or of all "
        "echoes: NIfTI, NRRD or MetaImage; or a folder of a scan: DICOM or BIDS",
    )
    p.add_argument(
        "mask",
        type=Path,
        nargs="?",
        help="mask on the same grid, zero outside the brain; of phase it can be made from the magnitude",
    )
    p.add_argument("--input", choices=INPUTS, default="auto", help="what FIELD is; auto: phase if it looks so")
    p.add_argument("--units", choices=FIELD_UNITS, default="ppm", help="unit of the field (default: ppm)")
    p.add_argument("--b0", type=float, metavar="T", help="field strength [T], for phase and for fields in hz or rad")
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
        "--magnitude",
        type=Path,
        nargs="+",
        metavar="FILE",
        help="phase: of its echoes, in one file or several; medi: its edges are spared",
    )
    p.add_argument(
        "--noise", type=Path, metavar="FILE", help="medi, and pdf of a total field: standard error, in the field's unit"
    )
    p.add_argument("--echoes", type=Path, nargs="+", default=[], metavar="FILE", help="phase: the further echoes")
    p.add_argument("--series", type=int, nargs="+", metavar="N", help="phase: numbers of the DICOM series meant")
    p.add_argument(
        "--phase-range",
        type=float,
        nargs=2,
        metavar=("LOW", "HIGH"),
        help="phase: the numbers that stand for −π and π; default: judged from the range",
    )
    p.add_argument("--flip-sign", action="store_true", help="phase, total field: turn its sign")
    p.add_argument("--bipolar", action="store_true", help="phase: even echoes were read out backwards")
    p.add_argument("--unwrapping", choices=UNWRAPPINGS, help="phase: exact along paths (default), or fast")
    p.add_argument("--background", choices=BACKGROUNDS, help="phase, total field: its removal (default: v-sharp)")
    p.add_argument(
        "--recover",
        type=int,
        metavar="N",
        help="phase, total field: steps that recover what the removal "
        "takes of the local field (default: 150, of one echo 0)",
    )


def add_local_field_options(p: argparse.ArgumentParser) -> None:
    """The options of a command that is given a local field and nothing else."""
    p.add_argument("field", type=Path, help="local field: NIfTI, NRRD or MetaImage")
    p.add_argument("mask", type=Path, help="mask on the same grid; zero outside the brain")
    p.add_argument("--units", choices=FIELD_UNITS, default="ppm", help="unit of the field (default: ppm)")
    p.add_argument("--b0", type=float, metavar="T", help="field strength [T], for a field in hz or rad")
    p.add_argument("--te", type=float, nargs="+", metavar="S", help="echo time [s] of a field in rad; medi: spacing")
    p.add_argument(
        "--b0-direction",
        type=float,
        nargs=3,
        metavar=("X", "Y", "Z"),
        help="in voxel axes; default: the patient's superior-inferior axis",
    )
    p.add_argument("--mask-labels", type=int, nargs="+", metavar="N", help="labels of the mask that belong to it")
    p.add_argument("--non-finite", choices=("refuse", "mask"), default="refuse", help="NaN or Inf inside the mask")
    p.add_argument("--reference", default="mean", metavar="mean|none|LABELMAP", help="region whose mean χ is zero")
    p.add_argument("--magnitude", type=Path, metavar="FILE", help="medi: its edges are spared")
    p.add_argument("--noise", type=Path, metavar="FILE", help="medi: the field's standard error, in its unit")
    p.add_argument("--csf", type=Path, metavar="FILE", help="medi: the ventricles, made uniform (--reference none: 0)")


def add_fieldmap(commands: Any, command: Callable[..., argparse.ArgumentParser]) -> None:
    """The command `fieldmap`."""
    p = command(commands, "fieldmap", _fieldmap, "from phase or a total field to the local field", device=True)
    add_field_options(p)
    p.add_argument(
        "-o",
        "--output",
        type=Path,
        required=True,
        metavar="FOLDER",
        help="localfield, mask, params.json and all that was on the way",
    )
    p.set_defaults(keep=None)


def input_kind(args: argparse.Namespace) -> str:
    """What the input is, as the user says or, with 'auto', as it looks; refuses options that do not go with it."""
    from IR2QSMLib.pipeline.identify import detect_input

    kind: str = args.input
    if kind == "auto":
        kind = "phase" if args.echoes else detect_input(args.field)
    wrong = PHASE_ONLY if kind == "total-field" else (*PHASE_ONLY, *INTERMEDIATES) if kind == "local-field" else ()
    for name in wrong:
        if getattr(args, name):
            raise ParameterInvalid(
                f"--{name.replace('_', '-')} does not go with a {kind.replace('-', ' ')}, as which {args.field.name} "
                "was taken; say otherwise with --input."
            )
    if kind == "phase" and args.units != "ppm":
        raise ParameterInvalid(
            f"{args.field.name} was taken for phase, which has no --units; say --input local-field or total-field if "
            "it is a field."
        )
    return kind


def files_read(args: argparse.Namespace) -> list[Path]:
    """The images and folders that `reconstruct` and `fieldmap` are given."""
    return [args.field, *args.echoes, *(args.magnitude or []), *(p for p in (args.mask, args.noise) if p is not None)]


def require_kept_apart(read: list[Path], folder: Path) -> None:
    """Raise OutputUnwritable for a folder that cannot be, or in which what is on the way would replace an input."""
    from IR2QSMLib.pipeline.preprocessed import files_in
    from IR2QSMLib.pipeline.result import require_apart

    if folder.exists() and not folder.is_dir():
        raise OutputUnwritable(f"{folder.name} is a file; give a folder for the local field and the rest.")
    require_apart(read, files_in(folder))


def checked_magnitude(args: argparse.Namespace) -> Path | None:
    """The one magnitude of a field."""
    if args.magnitude is not None and len(args.magnitude) > 1:
        raise ParameterInvalid(f"{len(args.magnitude)} magnitudes were given; a field has one.")
    return args.magnitude[0] if args.magnitude else None


def prepared(args: argparse.Namespace, kind: str, progress: Progress) -> PreprocessedField | None:
    """The local field of a phase or a total field; None for a local field."""
    if kind == "local-field":
        return None
    from IR2QSMLib.field.scanner import Conversion  # needs scikit-image, which a local field does not
    from IR2QSMLib.io.scans import find_acquisition
    from IR2QSMLib.pipeline.preprocess import PreprocessingOptions, preprocess_phase, preprocess_total_field

    steps = PreprocessingOptions(
        Conversion(tuple(args.phase_range) if args.phase_range else None, args.flip_sign, args.bipolar),
        args.unwrapping or "path",
        args.background or "v-sharp",
        args.recover,
    )
    common: dict[str, Any] = {
        "steps": steps,
        "mask_labels": args.mask_labels,
        "b0_direction": args.b0_direction,
        "device": args.device,
        "progress": progress,
    }
    if kind == "total-field":
        if args.mask is None:
            raise MaskInvalid(f"The field {args.field.name} came without a mask; give that in which it was measured.")
        if args.te is not None and len(args.te) > 1:
            raise ParameterInvalid(f"{len(args.te)} echo times were given; a field in rad has one: give --te once.")
        return preprocess_total_field(
            args.field,
            args.mask,
            unit=args.units,
            b0=args.b0,
            echo_time=args.te[0] if args.te else None,
            noise=args.noise,
            magnitude=checked_magnitude(args),
            **common,
        )
    if args.noise is not None:
        raise ParameterInvalid("--noise goes with a field; of phase it is found from the echoes. Leave it out.")
    source = [args.field, *args.echoes]
    acquisition = find_acquisition(
        args.field if len(source) == 1 else source,
        args.magnitude or (),
        echo_times=args.te,
        b0=args.b0,
        series=args.series,
    )
    return preprocess_phase(acquisition, args.mask, **common)


def _fieldmap(args: argparse.Namespace, console: Console) -> dict[str, Any]:
    kind = input_kind(args)
    require_kept_apart(files_read(args), args.output)
    field = prepared(args, kind, console.progress)
    if field is None:
        raise ParameterInvalid(
            f"{args.field.name} was taken for a local field, which is where fieldmap ends; if it is not, say --input "
            "phase or total-field."
        )
    tell(field, console)
    try:
        args.output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputUnwritable(f"The folder '{args.output.name}' cannot be made ({error.strerror}).") from error
    with console.outputs as outputs:
        field.add_to(outputs, args.output)
        console.progress(1.0, "written")
    return {
        "local_field": str(args.output / "localfield.nii.gz"),
        "mask": str(args.output / "mask.nii.gz"),
        "provenance": str(args.output / "params.json"),
        "warnings": field.warnings,
    }


def tell(field: PreprocessedField, console: Console) -> None:
    """Say what was found in a scan and decided: its images, how its phase was read, what the mask has lost.

    To people alone: a program finds it in the JSON files, and may not read these lines' encoding.
    """
    if console.mode == "json":
        return
    lines = acquisition_table(field.notes.get("images", []))
    if "scaling" in field.notes:
        lines.append(f"Phase: {field.notes['scaling']}.")
    n = field.notes["n_voxels"]
    lines.append(f"Mask: {n['effective_mask']} of {n['mask']} voxels are left after background removal.")
    for line in lines:
        console.say(line)


def acquisition_table(rows: list[dict[str, Any]]) -> list[str]:
    """The images of an acquisition as a table for people."""
    from IR2QSMLib.report.figure import table

    if not rows:
        return []
    head = ["image", "kind", "TE ms", "B0 T", "manufacturer", "image type", "voxels", "mm", "slices"]
    lines = [
        [
            r["image"],
            r["kind"],
            *("–" if r[k] is None else f"{r[k]:g}" for k in ("echo_time_ms", "b0_t")),
            r["manufacturer"] or "–",
            r["image_type"] or "–",
            "×".join(map(str, r["shape"])),
            "×".join(f"{v:g}" for v in r["voxel_size_mm"]),
            r["slices"],
        ]
        for r in rows
    ]
    return [table(lines, head)]
