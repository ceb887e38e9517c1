"""`ir2qsm report`: the page of a finished map."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from IR2QSMLib.cli.commands import Answer, Command

if TYPE_CHECKING:
    from IR2QSMLib.cli.console import Console


def _add_options(p: argparse.ArgumentParser) -> None:
    p.add_argument("chi", type=Path, help="the map; its JSON lies beside it")
    p.add_argument("-o", "--output", type=Path, metavar="PAGE", help="default: beside the map, as chi.html")
    p.add_argument("--kept", type=Path, metavar="FOLDER", help="what 'reconstruct --keep' wrote: local field and mask")
    p.add_argument("--field", type=Path, metavar="FILE", help="the local field that was inverted")
    p.add_argument("--mask", type=Path, metavar="FILE", help="where the map is valid; default: where it is not 0")
    p.add_argument("--uncertainty", type=Path, metavar="FILE", help="the standard error of χ [ppm]")
    p.add_argument("--labels", type=Path, metavar="FILE", help="label map: the values of the map in each label")
    p.add_argument("--window", type=float, nargs=2, default=(-0.1, 0.1), metavar=("LOW", "HIGH"), help="[ppm]")


def _run(args: argparse.Namespace, console: Console) -> Answer:
    from IR2QSMLib.evaluation.map_report import MapFiles, page_path, write_map_report
    from IR2QSMLib.io.outputs import check_writable

    page = page_path(args.chi) if args.output is None else args.output
    check_writable(page, (".html",))
    files = MapFiles(args.chi, args.kept, args.field, args.mask, args.uncertainty, args.labels)
    with console.outputs as outputs:
        answer = write_map_report(outputs, page, files, window=tuple(args.window), progress=console.progress)
        console.progress(1.0, "written")
    for name, level in answer["lights"].items():
        console.say(f"{name}: {level}")
    return answer | {"warnings": []}


COMMAND = Command("report", "write the page of a map: whether it can be trusted, and what ran", _add_options, _run)
