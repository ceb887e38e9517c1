"""`ir2qsm fieldmap`: from phase or a total field to the local field; `reconstruct` uses the same functions."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from IR2QSMLib.cli.commands import Answer, Command, make_folder
from IR2QSMLib.cli.options import add_input_options, field_metadata, input_files, input_kind
from IR2QSMLib.core.errors import MaskInvalid, OutputUnwritable, ParameterInvalid

if TYPE_CHECKING:
    from IR2QSMLib.cli.console import Console
    from IR2QSMLib.core.progress import Progress
    from IR2QSMLib.pipeline.preprocessed import PreprocessedField


def _add_options(p: argparse.ArgumentParser) -> None:
    add_input_options(p)
    p.add_argument(
        "-o",
        "--output",
        type=Path,
        required=True,
        metavar="FOLDER",
        help="localfield, mask, params.json and all intermediates",
    )
    p.set_defaults(keep=None)


def _run(args: argparse.Namespace, console: Console) -> Answer:
    kind = input_kind(args)
    require_intermediates_apart(input_files(args), args.output)
    if kind == "local-field":
        raise ParameterInvalid(
            f"{args.field.name} was taken for a local field, which is where fieldmap ends; if it is not, say --input "
            "phase or total-field.",
            option="input",
        )
    field = preprocess(args, kind, console.progress)
    describe_field(field, console)
    make_folder(args.output)
    with console.outputs as outputs:
        field.add_to(outputs, args.output)
        console.progress(1.0, "written")
    return {
        "local_field": str(args.output / "localfield.nii.gz"),
        "mask": str(args.output / "mask.nii.gz"),
        "provenance": str(args.output / "params.json"),
        "warnings": field.warnings,
    }


def preprocess(args: argparse.Namespace, kind: str, progress: Progress) -> PreprocessedField:
    """The local field of a phase or a total field."""
    from IR2QSMLib.field.conversion import PhaseConversion  # needs scikit-image, which a local field does not
    from IR2QSMLib.io.scans import find_acquisition
    from IR2QSMLib.pipeline.preprocess import PreprocessingOptions, preprocess_phase, preprocess_total_field

    steps = PreprocessingOptions(
        PhaseConversion(tuple(args.phase_range) if args.phase_range else None, args.flip_sign, args.bipolar),
        args.unwrapping or "path",
        args.background or "v-sharp",
        args.completion_steps,
        args.accept_filtered,
    )
    common: dict[str, Any] = {"steps": steps, "device": args.device, "progress": progress}
    if kind == "total-field":
        if args.mask is None:
            raise MaskInvalid(
                f"The field {args.field.name} came without a mask; give the mask in which it was measured.",
                option="mask",
            )
        metadata = field_metadata(args)
        return preprocess_total_field(args.field, args.mask, series=args.series, metadata=metadata, **common)
    if args.noise is not None:
        raise ParameterInvalid(
            "--noise goes with a field; of phase it is estimated from the echoes. Leave it out.", option="noise"
        )
    source = [args.field, *args.echoes]
    acquisition = find_acquisition(
        args.field if len(source) == 1 else source,
        args.magnitude or (),
        echo_times=args.te,
        b0=args.b0,
        series=args.series,
        volume=args.volume,
        real=args.real,
        imaginary=args.imaginary,
        manufacturer=args.manufacturer,
    )
    return preprocess_phase(
        acquisition,
        args.mask,
        mask_labels=args.mask_labels,
        mask_threshold=args.mask_threshold,
        b0_direction=args.b0_direction,
        **common,
    )


def require_intermediates_apart(inputs: list[Path], folder: Path) -> None:
    """Raise OutputUnwritable for a folder that cannot be, or in which an intermediate would replace an input."""
    from IR2QSMLib.pipeline.preprocessed import files_in
    from IR2QSMLib.pipeline.result import refuse_overwriting

    if folder.exists() and not folder.is_dir():
        raise OutputUnwritable(
            f"{folder.name} is a file; give a folder for the local field and the rest.", option="output"
        )
    refuse_overwriting(inputs, files_in(folder))


def describe_field(field: PreprocessedField, console: Console) -> None:
    """Print the images of a scan, how its phase was scaled, and what the mask lost.

    Only for people: a program finds it in the JSON files, and may not know these lines' encoding.
    """
    if console.mode == "json":
        return
    lines = acquisition_table(field.notes.get("images", []))
    if "scaling" in field.notes:
        lines.append(f"Phase: {field.notes['scaling']}.")
    n_voxels = field.notes["n_voxels"]
    lines.append(f"Mask: {n_voxels['effective_mask']} of {n_voxels['mask']} voxels are left after background removal.")
    for line in lines:
        console.say(line)


def acquisition_table(rows: list[dict[str, Any]]) -> list[str]:
    """The images of an acquisition as a table for people."""
    from IR2QSMLib.report.table import markdown_table

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
    return [markdown_table(lines, head)]


COMMAND = Command("fieldmap", "from phase or a total field to the local field", _add_options, _run, device=True)
