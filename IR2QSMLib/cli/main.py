"""The command `ir2qsm`: arguments only; everything heavy is imported by the command that needs it."""

from __future__ import annotations

import argparse
import io
import json
import math
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

from IR2QSMLib.cli.console import MODES, Console
from IR2QSMLib.cli.field_options import (
    acquisition_table,
    add_field_options,
    add_fieldmap,
    add_local_field_options,
    checked_magnitude,
    files_read,
    input_kind,
    prepared,
    require_kept_apart,
    tell,
)
from IR2QSMLib.cli.train import add_calibrate, add_train
from IR2QSMLib.core.errors import OutputUnwritable, ParameterInvalid
from IR2QSMLib.core.version import __version__

Answer = dict[str, Any] | None
LEARNED_NAMES = ("ir2qsm", "unet", "xqsm", "lpcnn", "modl-qsm")
METHOD_NAMES = (*LEARNED_NAMES, "tkd", "tikhonov", "tv", "ilsqr", "medi")
EXTRAS = ("magnitude", "noise", "csf")
"""Volumes beside field and mask that a method may take."""
OPTIONS = {
    LEARNED_NAMES: ("weights", "tile", "consistency"),
    ("ir2qsm",): ("uncertainty",),
    ("modl-qsm",): ("unexplained",),
    ("tkd",): ("threshold",),
    ("tikhonov", "tv", "medi"): ("regularisation",),
    ("tv",): ("outside",),
    (*LEARNED_NAMES, "medi"): ("magnitude",),
    ("medi",): ("noise", "csf", "smv_radius", "merit"),
}
"""Options of `reconstruct` by the methods they belong to."""


class _Parser(argparse.ArgumentParser):
    """A parser whose complaints are errors like any other; the help of `compare` tells of the methods there are."""

    def format_help(self) -> str:
        if self.prog.endswith(" compare"):
            from IR2QSMLib.inversion.registry import METHODS

            told = [f"  {name}\n    {m.sentence}\n    {m.citation}." for name, m in METHODS.items()]
            self.epilog = "methods:\n" + "\n".join(told)
        return super().format_help()

    def error(self, message: str) -> NoReturn:
        raise ParameterInvalid(f"{message}; see: {self.prog} --help.")


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; 0 done, 2 bad input, 3 cancelled, 1 our fault."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a terminal that lacks χ and λ still gets the help
    try:
        args = _parser().parse_args(argv)
    except ParameterInvalid as complaint:
        error = complaint
        words = sys.argv[1:] if argv is None else list(argv)
        mode = "json" if any(word in ("json", "--json", "--progress=json") for word in words) else "none"
        return Console(mode).run(lambda: _raise(error))
    if getattr(args, "json", False):
        args.progress = "json"
    console = Console(args.progress, getattr(args, "cancel_file", None))
    command: Callable[[argparse.Namespace, Console], Answer] = args.command
    return console.run(lambda: command(args, console))


def _raise(error: Exception) -> NoReturn:
    raise error


def _reconstruct(args: argparse.Namespace, console: Console) -> Answer:
    from IR2QSMLib.core.devices import keep_freed_memory
    from IR2QSMLib.core.progress import part_of
    from IR2QSMLib.inversion.registry import method
    from IR2QSMLib.io.outputs import check_writable
    from IR2QSMLib.pipeline.inputs import REFERENCES
    from IR2QSMLib.pipeline.reconstruct import reconstruct
    from IR2QSMLib.pipeline.result import require_apart, sidecar_of

    keep_freed_memory()
    maps = {"uncertainty": args.uncertainty, "mask": args.mask_output, "unexplained": args.unexplained}
    written = [p for p in (args.output, *maps.values()) if p is not None]
    for path in written:
        check_writable(path)
    check_writable(sidecar_of(args.output), (".json",))
    read = files_read(args) + ([] if args.csf is None else [args.csf])
    read += [] if args.reference in REFERENCES else [Path(args.reference)]
    require_apart(read, [*written, sidecar_of(args.output)])
    if args.keep is not None:
        require_kept_apart(read, args.keep)
    kind = input_kind(args)
    made = {"phase": ("magnitude", "noise"), "total-field": ("noise",)}.get(kind, ())
    if kind != "phase" and args.te is not None and len(args.te) > 1:
        raise ParameterInvalid(f"{len(args.te)} echo times were given; a local field in rad has one: give --te once.")
    for methods, names in OPTIONS.items():
        wrong = [f"--{k.replace('_', '-')}" for k in names if k not in made and getattr(args, k) is not None]
        if wrong and args.method not in methods:
            owners = " or ".join(filter(None, [", ".join(methods[:-1]), methods[-1]]))
            raise ParameterInvalid(f"{' and '.join(wrong)} belongs to --method {owners}, not to {args.method}.")
    apart = (*EXTRAS, "uncertainty", "unexplained")
    mine = [k for k in _options_of(args.method) if k not in apart]
    chosen = {k: getattr(args, k) for k in mine if getattr(args, k) is not None}
    common: dict[str, Any] = {
        "method": method(args.method, **chosen),
        "device": args.device,
        "reference": args.reference,
        "csf": args.csf,
    }
    field = prepared(args, kind, part_of(console.progress, 0.0, 0.5))
    if field is None:
        result = reconstruct(
            args.field,
            args.mask,
            unit=args.units,
            b0=args.b0,
            echo_time=args.te[0] if args.te else None,
            b0_direction=args.b0_direction,
            mask_labels=args.mask_labels,
            non_finite=args.non_finite,
            magnitude=checked_magnitude(args),
            noise=args.noise,
            progress=console.progress,
            **common,
        )
    else:
        tell(field, console)
        result = reconstruct(field, progress=part_of(console.progress, 0.5, 1.0), **common)
    if args.keep is not None:
        _make_folder(args.keep)
    kept: dict[str, str] = {}
    with console.outputs as outputs:
        if field is not None and args.keep is not None:
            kept = field.add_to(outputs, args.keep)
        sidecar = result.add_to(outputs, args.output, **maps)
        console.progress(1.0, "written")
    paths = {"chi": args.output, **maps, "provenance": sidecar}
    if args.method != "modl-qsm":
        del paths["unexplained"]
    said = {"warnings": result.provenance["Warnings"], **({"kept": kept} if kept else {})}
    return {k: None if v is None else str(v) for k, v in paths.items()} | said


def _options_of(name: str) -> list[str]:
    """Options of `reconstruct` that the method of that name takes."""
    return [k for methods, names in OPTIONS.items() if name in methods for k in names]


def _compare(args: argparse.Namespace, console: Console) -> Answer:
    from IR2QSMLib.core.devices import keep_freed_memory
    from IR2QSMLib.evaluation.compare import compare
    from IR2QSMLib.evaluation.comparison_setup import ComparisonInputs

    keep_freed_memory()
    if args.te is not None and len(args.te) > 1:
        raise ParameterInvalid(f"{len(args.te)} echo times were given; a local field in rad has one: give --te once.")
    inputs = ComparisonInputs(
        args.field,
        args.mask,
        args.units,
        args.b0,
        args.te[0] if args.te else None,
        args.b0_direction,
        args.mask_labels,
        args.non_finite,
        args.reference,
        args.magnitude,
        args.noise,
        args.csf,
        args.device,
    )
    maps: dict[str, Path] = {}
    for name, file in args.map:
        if name in maps:
            raise ParameterInvalid(f"Two maps are called '{name}'; give each its own name.")
        maps[name] = file
    _make_folder(args.output)
    with console.outputs as outputs:
        answer = compare(
            outputs,
            args.output,
            inputs,
            args.methods,
            maps,
            truth=args.truth,
            labels=args.labels,
            white_matter=args.white_matter,
            window=tuple(args.window),
            progress=console.progress,
        )
        console.progress(1.0, "written")
    return answer


def named_file(text: str) -> tuple[str, Path]:
    name, separator, file = text.partition("=")
    return (name, Path(file)) if separator and name and file else (Path(text).name.split(".")[0], Path(text))


def number_or_auto(text: str) -> float | str:
    return text if text == "auto" else float(text)


def _simulate(args: argparse.Namespace, console: Console) -> Answer:
    from IR2QSMLib.simulation.cases import Case, simulate, write_case

    if not args.snr > 0.0:
        raise ParameterInvalid(f"The power SNR is {args.snr:g}; expected a positive number, or inf.")
    if not 0 <= args.seed < 2**63:
        raise ParameterInvalid(f"The seed is {args.seed}; expected a whole number from 0 to 2^63 - 1.")
    if not math.isfinite(args.tilt):
        raise ParameterInvalid(f"The tilt is {args.tilt:g} degrees; expected a finite number.")
    case = Case(args.seed, args.snr, tuple(args.shape), tuple(args.voxel_size), args.tilt, args.phantom)
    console.progress(0.0, "simulating")
    head, field = simulate(case)
    _make_folder(args.output)
    with console.outputs as outputs:
        write_case(outputs, args.output, head, field)
        console.progress(1.0, "written")
    return {"folder": str(args.output), "warnings": []}


def _make_folder(path: Path) -> None:
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputUnwritable(
            f"The folder '{path.name}' cannot be made ({error.strerror}); choose another place for it."
        ) from error


def _demo(args: argparse.Namespace, console: Console) -> Answer:
    from IR2QSMLib.evaluation.demo import demo

    _make_folder(args.output)
    console.say(demo(args.output, args.device, console.progress))
    console.say(f"Maps and the figure demo.png are in the folder '{args.output}'.")
    return {"folder": str(args.output), "warnings": []}


def _benchmark(args: argparse.Namespace, console: Console) -> Answer:
    from IR2QSMLib.core.devices import keep_freed_memory
    from IR2QSMLib.evaluation.benchmark import benchmark
    from IR2QSMLib.evaluation.measured_benchmark import benchmark_measured
    from IR2QSMLib.evaluation.phase_benchmark import phase_benchmark

    keep_freed_memory()
    if args.measured:
        if args.cases or args.phase or args.sweep:
            raise ParameterInvalid("--measured came with --cases, --phase or --sweep; run them one after the other.")
        benchmark_measured(
            args.measured,
            methods=args.methods,
            weights=args.weights,
            device=args.device,
            progress=console.progress,
            emit=console.say,
        )
        return {"warnings": []}
    if not args.phase:
        benchmark(
            args.cases,
            methods=args.methods,
            weights=args.weights,
            device=args.device,
            sweep=args.sweep,
            speed=not args.no_speed,
            progress=console.progress,
            emit=console.say,
        )
    if args.phase or not (args.cases or args.methods or args.no_speed):
        phase_benchmark(device=args.device, emit=console.say)
    return {"warnings": []}


def _import_weights(args: argparse.Namespace, console: Console) -> Answer:
    from IR2QSMLib.inversion.learned.import_released import import_released
    from IR2QSMLib.io.outputs import check_writable

    output = args.output or args.checkpoint.with_suffix(".safetensors")
    check_writable(output, (".safetensors",))
    with console.outputs as outputs:
        card = import_released(outputs, args.checkpoint, output)
    console.say(f"{output.name}: sha256 {card['sha256']}")
    return {"weights": str(output), "warnings": []}


def _inspect(args: argparse.Namespace, console: Console) -> Answer:
    from IR2QSMLib.pipeline.identify import inspect

    found = inspect(args.image, args.mask, args.series)
    if not args.json:
        for line in acquisition_table(found.pop("images", [])):
            console.say(line)
    return _tell(args, console, found)


def _info(args: argparse.Namespace, console: Console) -> Answer:
    from IR2QSMLib.cli.info import information

    found = information()
    for name, about in found["methods"].items():
        about["options"] = _options_of(name)
    return _tell(args, console, found)


def _tell(args: argparse.Namespace, console: Console, found: dict[str, Any]) -> Answer:
    if args.json:
        return found
    for key, value in found.items():
        console.say(f"{key}: {value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)}")
    return None


def _parser() -> argparse.ArgumentParser:
    parser = _Parser("ir2qsm", description="Susceptibility maps. Research software, not for diagnosis.")
    parser.add_argument("--version", action="version", version=f"ir2qsm {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND", parser_class=_Parser)

    p = _command(commands, "reconstruct", _reconstruct, "reconstruct χ from phase or from a field", device=True)
    add_field_options(p)
    p.add_argument("-o", "--output", type=Path, required=True, metavar="CHI", help="the map; a JSON goes beside it")
    p.add_argument("--keep", type=Path, metavar="FOLDER", help="phase, total field: write all that was on the way")
    p.add_argument("--method", choices=METHOD_NAMES, default="ir2qsm")
    p.add_argument("--non-finite", choices=("refuse", "mask"), default="refuse", help="NaN or Inf inside the mask")
    p.add_argument("--reference", default="mean", metavar="mean|none|LABELMAP", help="region whose mean χ is zero")
    p.add_argument("--uncertainty", type=Path, metavar="FILE", help="write the standard error of χ [ppm]")
    p.add_argument("--mask-output", type=Path, metavar="FILE", help="write the mask in which χ is valid")
    p.add_argument("--unexplained", type=Path, metavar="FILE", help="modl-qsm: write the field that χ leaves [ppm]")
    p.add_argument("--weights", type=Path, metavar="FILE", help="networks: other weights than the bundled ones")
    p.add_argument("--tile", type=int, metavar="N", help="networks: edge of tiles [voxels]; default: only when needed")
    p.add_argument(
        "--consistency", type=float, metavar="c", help="networks: factor on λ(k) in the step on the field; 0: no step"
    )
    p.add_argument("--threshold", type=number_or_auto, metavar="t|auto", help="tkd: on the dipole kernel (0.15)")
    p.add_argument(
        "--regularisation",
        "--strength",
        type=number_or_auto,
        metavar="λ|auto",
        help="tikhonov (0.01), tv (0.0002): of the penalty; medi (1000): of the data; auto: from the field's own cone",
    )
    p.add_argument(
        "--outside",
        choices=("zero", "free", "auto"),
        help="tv: field outside the mask; auto: free with the automatic regularisation, else zero",
    )
    p.add_argument("--csf", type=Path, metavar="FILE", help="medi: the ventricles, made uniform (--reference none: 0)")
    p.add_argument("--smv-radius", type=float, metavar="MM", help="medi: take out the mean over such a sphere; 0: none")
    p.add_argument("--merit", action="store_true", default=None, help="medi: distrust voxels the model cannot explain")

    add_fieldmap(commands, _command)

    p = _command(
        commands, "compare", _compare, "invert one field by several methods, and lay maps out side by side", device=True
    )
    p.formatter_class = argparse.RawDescriptionHelpFormatter
    add_local_field_options(p)
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

    p = _command(commands, "simulate", _simulate, "simulate a head: field, mask and true χ")
    p.add_argument("-o", "--output", type=Path, required=True, metavar="FOLDER")
    p.add_argument("--seed", type=int, default=0, help="one head a seed; below 1000000 none was trained on")
    p.add_argument("--snr", type=float, default=40.0, help="power SNR of the field; inf for none")
    p.add_argument("--shape", type=int, nargs=3, default=(160, 192, 160), metavar=("X", "Y", "Z"))
    p.add_argument("--voxel-size", type=float, nargs=3, default=(1.0, 1.0, 1.0), metavar=("X", "Y", "Z"), help="[mm]")
    p.add_argument("--tilt", type=float, default=0.0, help="angle between B0 and the slices' normal [degrees]")
    p.add_argument("--phantom", action="store_true", help="a geometric phantom in place of a brain")

    p = _command(commands, "demo", _demo, "simulate a brain and reconstruct it: maps, a figure, a table", device=True)
    p.add_argument("-o", "--output", type=Path, default=Path("demo"), metavar="FOLDER")

    p = _command(commands, "benchmark", _benchmark, "score every method on the held-out cases", device=True)
    p.add_argument("--cases", nargs="+", metavar="NAME", help="only these")
    p.add_argument("--methods", nargs="+", metavar="NAME", help="only these, with all their settings")
    p.add_argument("--weights", type=Path, metavar="FILE")
    p.add_argument("--sweep", action="store_true", help="also tv and medi at their best fixed strengths: slow")
    p.add_argument("--no-speed", action="store_true", help="leave out how long transforms and the inference take")
    p.add_argument(
        "--measured",
        type=Path,
        nargs="+",
        metavar="FOLDER",
        help="only measured fields that come with a reference map, each folder laid out as QSM-CI's contract",
    )
    p.add_argument("--phase", action="store_true", help="only the way from phase to local field, and its costs")

    add_train(commands, _command)
    add_calibrate(commands, _command)

    p = _command(commands, "import-weights", _import_weights, "convert a released checkpoint")
    p.add_argument("checkpoint", type=Path, help="model_IR2Unet.pth, LPCNN's .pkl or MoDL-QSM's .h5")
    p.add_argument("-o", "--output", type=Path, metavar="FILE", help="safetensors file; default: beside the checkpoint")

    p = _command(commands, "inspect", _inspect, "say what an image seems to be")
    p.add_argument("image", type=Path)
    p.add_argument("mask", type=Path, nargs="?")
    p.add_argument("--series", type=int, nargs="+", metavar="N", help="numbers of the DICOM series meant")
    p.add_argument("--json", action="store_true", help="one JSON object on standard output")
    p = _command(commands, "info", _info, "list versions, devices that work, and weights")
    p.add_argument("--json", action="store_true", help="one JSON object on standard output")
    return parser


def _command(
    commands: Any, name: str, run: Callable[[argparse.Namespace, Console], Answer], text: str, *, device: bool = False
) -> argparse.ArgumentParser:
    p: argparse.ArgumentParser = commands.add_parser(name, help=text, description=text[0].upper() + text[1:] + ".")
    p.set_defaults(command=run)
    p.add_argument("--progress", choices=MODES, default="bar")
    p.add_argument("--cancel-file", type=Path, metavar="PATH", help="the run ends when this file appears")
    if device:
        p.add_argument("--device", default="auto", metavar="auto|cpu|cuda|mps")
    return p
