"""`ir2qsm export`: a map as DICOM objects."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from IR2QSMLib.cli.commands import Answer, Command, make_folder
from IR2QSMLib.core.choices import EXPORT_KINDS
from IR2QSMLib.core.errors import PackageMissing

if TYPE_CHECKING:
    from IR2QSMLib.cli.console import Console


def _add_options(p: argparse.ArgumentParser) -> None:
    p.add_argument("chi", type=Path, help="the map [ppm]; the JSON beside it says how it came about")
    p.add_argument("--like", type=Path, required=True, metavar="FOLDER", help="the DICOM images it was made of")
    p.add_argument("-o", "--output", type=Path, required=True, metavar="FOLDER", help="new folder for the objects")
    p.add_argument("--series", nargs="+", metavar="N", help="series of --like that the map may come from; default: all")
    p.add_argument(
        "--kind", choices=EXPORT_KINDS, default="mr", help="MR images of 16 bit, or floating-point numbers (mr)"
    )
    p.add_argument("--uncertainty", type=Path, metavar="FILE", help="parametric-map: standard error of χ [ppm]")
    p.add_argument(
        "--segmentation",
        type=Path,
        metavar="FILE",
        help="label map of regions, their names in the TSV beside it: written as a segmentation, and as a report of "
        "mean, SD, median and volume",
    )
    p.add_argument("--window", type=float, nargs=2, default=(-0.1, 0.1), metavar=("LOW", "HIGH"), help="shown [ppm]")
    p.add_argument("--anonymise", action="store_true", help="objects that name nobody, with new UIDs throughout")


def _run(args: argparse.Namespace, console: Console) -> Answer:
    try:
        from IR2QSMLib.export.exporting import ExportOptions, export_map
    except ModuleNotFoundError as error:
        if error.name != "highdicom":
            raise
        raise PackageMissing("DICOM objects need highdicom; install it with: pip install 'ir2qsm[dicom]'.") from error

    options = ExportOptions(
        kind=args.kind,
        uncertainty=args.uncertainty,
        segmentation=args.segmentation,
        series=None if args.series is None else tuple(args.series),
        window=tuple(args.window),
        anonymise=args.anonymise,
    )
    exported = export_map(args.chi, args.like, args.output, options, console.progress)
    make_folder(args.output)
    with console.outputs as outputs:
        exported.add_to(outputs, args.output)
        console.progress(1.0, "written")
    return {"folder": str(args.output), "objects": exported.counts, "warnings": exported.warnings}


COMMAND = Command("export", "write a map as DICOM, for the archive its scan came from", _add_options, _run)
