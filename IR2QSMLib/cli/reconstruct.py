"""`ir2qsm reconstruct`: susceptibility from phase or from a field."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from IR2QSMLib.cli.commands import Answer, Command, make_folder
from IR2QSMLib.cli.fieldmap import describe_field, preprocess, require_intermediates_apart
from IR2QSMLib.cli.options import (
    add_input_options,
    add_method_options,
    field_metadata,
    input_files,
    input_kind,
    method_parameters,
    refuse_other_methods,
)
from IR2QSMLib.cli.remote import add_server_options, reconstruct_on_server, require_server
from IR2QSMLib.core.choices import METHOD_NAMES

if TYPE_CHECKING:
    from IR2QSMLib.cli.console import Console

USED_BEFORE = {"phase": ("magnitude", "noise"), "total-field": ("magnitude", "noise"), "local-field": ()}
"""Volumes that the preprocessing of an input takes, whatever the method."""


def _add_options(p: argparse.ArgumentParser) -> None:
    from IR2QSMLib.inversion.registry import METHODS

    add_input_options(p)
    p.add_argument("-o", "--output", type=Path, required=True, metavar="CHI", help="the map; a JSON goes beside it")
    p.add_argument("--keep", type=Path, metavar="FOLDER", help="phase, total field: write all intermediates")
    p.add_argument("--method", choices=METHOD_NAMES, default="ir2qsm")
    p.add_argument("--uncertainty", type=Path, metavar="FILE", help="write the standard error of χ [ppm]")
    p.add_argument("--mask-output", type=Path, metavar="FILE", help="write the mask in which χ is valid")
    p.add_argument("--unexplained", type=Path, metavar="FILE", help="modl-qsm: write the field that χ leaves [ppm]")
    add_server_options(p)
    add_method_options(p, METHODS)


def _run(args: argparse.Namespace, console: Console) -> Answer:
    from IR2QSMLib.core.devices import keep_freed_memory
    from IR2QSMLib.core.progress import part_of
    from IR2QSMLib.inversion.registry import METHODS, make_method
    from IR2QSMLib.io.outputs import check_writable
    from IR2QSMLib.pipeline.reconstruct import reconstruct
    from IR2QSMLib.pipeline.result import refuse_overwriting, sidecar_path

    require_server(args)
    keep_freed_memory()
    maps = {"uncertainty": args.uncertainty, "mask": args.mask_output, "unexplained": args.unexplained}
    results = [path for path in (args.output, *maps.values()) if path is not None]
    for path in results:
        check_writable(path)
    check_writable(sidecar_path(args.output), (".json",))
    inputs = input_files(args)
    refuse_overwriting(inputs, [*results, sidecar_path(args.output)])
    if args.keep is not None:
        require_intermediates_apart(inputs, args.keep)
    parameters = method_parameters(args, METHODS)
    if args.server is not None:
        wanted = {"output": args.output, "mask_output": args.mask_output}
        optional = {"uncertainty": args.uncertainty, "unexplained": args.unexplained}
        return _answer(args, *reconstruct_on_server(args, console, {**wanted, **optional}))

    kind = input_kind(args)
    volumes = [n for n in ("magnitude", "noise", "csf") if n not in USED_BEFORE[kind] and getattr(args, n)]
    refuse_other_methods(volumes, args.method, METHODS, lambda entry: entry.volumes)
    optional_maps = [n for n in ("uncertainty", "unexplained") if maps[n] is not None]
    refuse_other_methods(optional_maps, args.method, METHODS, lambda entry: entry.outputs)

    common: dict[str, Any] = {
        "method": make_method(args.method, **parameters),
        "device": args.device,
        "reference": args.reference,
    }
    field = None
    if kind == "local-field":
        metadata = vars(field_metadata(args))
        result = reconstruct(args.field, args.mask, progress=console.progress, **common, **metadata)
    else:
        field = preprocess(args, kind, part_of(console.progress, 0.0, 0.5))
        describe_field(field, console)
        result = reconstruct(field, csf=args.csf, progress=part_of(console.progress, 0.5, 1.0), **common)

    intermediates: dict[str, str] = {}
    if args.keep is not None:
        make_folder(args.keep)
    with console.outputs as outputs:
        if field is not None and args.keep is not None:
            intermediates = field.add_to(outputs, args.keep)
        result.add_to(outputs, args.output, **maps)
        console.progress(1.0, "written")
    return _answer(args, result.provenance["Warnings"], intermediates)


def _answer(args: argparse.Namespace, warnings: list[str], intermediates: dict[str, str]) -> dict[str, Any]:
    """Where everything was written, and what there is to say of it."""
    from IR2QSMLib.inversion.registry import METHODS
    from IR2QSMLib.pipeline.result import sidecar_path

    paths = {"chi": args.output, "uncertainty": args.uncertainty, "mask": args.mask_output}
    if "unexplained" in METHODS[args.method].outputs:
        paths["unexplained"] = args.unexplained
    paths["provenance"] = sidecar_path(args.output)
    answer = {name: None if path is None else str(path) for name, path in paths.items()}
    return answer | {"warnings": warnings} | ({"kept": intermediates} if intermediates else {})


COMMAND = Command("reconstruct", "reconstruct χ from phase or from a field", _add_options, _run, device=True)
