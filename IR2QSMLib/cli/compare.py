"""`ir2qsm compare`: several methods, maps of other tools and a truth side by side."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from IR2QSMLib.cli.commands import Answer, Command, make_folder
from IR2QSMLib.cli.options import add_field_metadata, field_metadata
from IR2QSMLib.core.errors import ParameterInvalid

if TYPE_CHECKING:
    from IR2QSMLib.cli.console import Console


def _add_options(p: argparse.ArgumentParser) -> None:
    from IR2QSMLib.inversion.registry import METHODS

    listed = [f"  {name}\n    {entry.description}\n    {entry.citation}." for name, entry in METHODS.items()]
    p.epilog = "methods:\n" + "\n".join(listed)
    p.formatter_class = argparse.RawDescriptionHelpFormatter
    p.add_argument("field", type=Path, help="local field: NIfTI, NRRD or MetaImage")
    p.add_argument("mask", type=Path, help="mask on the same grid; zero outside the brain")
    add_field_metadata(p)
    p.add_argument("-o", "--output", type=Path, required=True, metavar="FOLDER", help="maps, figure, table and page")
    p.add_argument(
        "--methods",
        nargs="*",
        metavar="NAME[,PARAMETER=VALUE]",
        help="as 'tv' or 'tv,regularisation=auto'; default: all that have weights, none when no name follows",
    )
    p.add_argument(
        "--map",
        type=named_file,
        action="append",
        default=[],
        metavar="NAME=FILE",
        help="a map [ppm] of another tool on the field's grid; may be repeated",
    )
    p.add_argument("--truth", type=Path, metavar="FILE", help="the true χ [ppm], to score every map against")
    p.add_argument("--labels", type=Path, metavar="FILE", help="label map: the values of every map in each label")
    p.add_argument(
        "--white-matter",
        type=int,
        nargs="+",
        default=[],
        metavar="N",
        help="labels in which noise is measured; default: the whole mask",
    )
    p.add_argument("--window", type=float, nargs=2, default=(-0.1, 0.1), metavar=("LOW", "HIGH"), help="[ppm]")


def _run(args: argparse.Namespace, console: Console) -> Answer:
    from IR2QSMLib.core.devices import keep_freed_memory
    from IR2QSMLib.evaluation.compare import compare
    from IR2QSMLib.evaluation.comparison_options import ComparisonOptions

    keep_freed_memory()
    maps: dict[str, Path] = {}
    for name, file in args.map:
        if name in maps:
            raise ParameterInvalid(f"Two maps are called '{name}'; give each its own name.", option="map")
        maps[name] = file
    options = ComparisonOptions(
        methods=args.methods,
        maps=maps,
        truth=args.truth,
        labels=args.labels,
        white_matter=args.white_matter,
        reference=args.reference,
        window=tuple(args.window),
        device=args.device,
    )
    metadata = field_metadata(args)
    make_folder(args.output)
    with console.outputs as outputs:
        answer = compare(outputs, args.output, args.field, args.mask, metadata, options, console.progress)
        console.progress(1.0, "written")
    return answer


def named_file(text: str) -> tuple[str, Path]:
    """Name and path of `NAME=FILE`, or of a file alone, which is called by its own name."""
    name, separator, file = text.partition("=")
    return (name, Path(file)) if separator and name and file else (Path(text).name.split(".")[0], Path(text))


COMMAND = Command(
    "compare", "invert one field by several methods, and lay maps out side by side", _add_options, _run, device=True
)
