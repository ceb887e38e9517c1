"""The command `ir2qsm`: arguments only; everything heavy is imported by the command that needs it."""

from __future__ import annotations

import argparse
import io
import json
import math
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

from IR2QSMLib import __version__
from IR2QSMLib.console import MODES, Console
from IR2QSMLib.errors import OutputUnwritable, ParameterInvalid
from IR2QSMLib.units import FIELD_UNITS

Answer = dict[str, Any] | None
LEARNED_NAMES = ("ir2qsm", "unet", "xqsm", "lpcnn", "modl-qsm")
METHOD_NAMES = (*LEARNED_NAMES, "tkd", "tikhonov", "tv", "ilsqr", "medi")
NETWORK_NAMES = ("ir2unet", *LEARNED_NAMES[1:])
EXTRAS = ("magnitude", "noise", "csf")
"""Volumes beside field and mask that a method may take."""
OPTIONS = {
    LEARNED_NAMES: ("weights", "tile", "consistency"),
    ("tkd",): ("threshold",),
    ("tikhonov", "tv", "medi"): ("strength",),
    ("tv",): ("outside",),
    ("medi",): (*EXTRAS, "smv_radius", "merit"),
}
"""Options of `reconstruct` by the methods they belong to."""
SIZES = ("width", "feature_noise", "dropout", "unit")
"""Options of `train` that are settings of the network; without one, a network is as published."""


class _Parser(argparse.ArgumentParser):
    """A parser whose complaints are errors like any other."""

    def error(self, message: str) -> NoReturn:
        raise ParameterInvalid(f"{message}; see: {self.prog} --help.")


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; 0 done, 2 bad input, 3 cancelled, 1 our fault."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")      # a terminal that lacks χ and λ still gets the help
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
    from IR2QSMLib.inversion.methods import method
    from IR2QSMLib.io.outputs import check_writable
    from IR2QSMLib.pipeline import REFERENCES, reconstruct, require_apart, sidecar_of

    maps = {"uncertainty": args.uncertainty, "mask": args.mask_output, "unexplained": args.unexplained}
    written = [p for p in (args.output, *maps.values()) if p is not None]
    for path in written:
        check_writable(path)
    check_writable(sidecar_of(args.output), (".json",))
    extras = [getattr(args, k) for k in EXTRAS if getattr(args, k) is not None]
    read = [args.field, args.mask, *extras, *([] if args.reference in REFERENCES else [Path(args.reference)])]
    require_apart(read, [*written, sidecar_of(args.output)])
    if args.uncertainty is not None and args.method != "ir2qsm":
        raise ParameterInvalid(f"--uncertainty belongs to --method ir2qsm, not to {args.method}.")
    if args.unexplained is not None and args.method != "modl-qsm":
        raise ParameterInvalid(f"--unexplained belongs to --method modl-qsm, not to {args.method}.")
    if args.te is not None and len(args.te) > 1:
        raise ParameterInvalid(f"{len(args.te)} echo times were given; a local field in rad has one: give --te once.")
    for methods, names in OPTIONS.items():
        wrong = [f"--{k.replace('_', '-')}" for k in names if getattr(args, k) is not None]
        if wrong and args.method not in methods:
            owners = " or ".join(filter(None, [", ".join(methods[:-1]), methods[-1]]))
            raise ParameterInvalid(f"{' and '.join(wrong)} belongs to --method {owners}, not to {args.method}.")
    mine = [k for methods, names in OPTIONS.items() if args.method in methods for k in names if k not in EXTRAS]
    chosen = {k: getattr(args, k) for k in mine if getattr(args, k) is not None}
    result = reconstruct(
        args.field, args.mask, unit=args.units, b0=args.b0, echo_time=args.te[0] if args.te else None,
        b0_direction=args.b0_direction, mask_labels=args.mask_labels, non_finite=args.non_finite,
        method=method(args.method, **chosen), device=args.device, reference=args.reference, progress=console.progress,
        **{k: getattr(args, k) for k in EXTRAS},
    )  # fmt: skip
    with console.outputs as outputs:
        sidecar = result.add_to(outputs, args.output, **maps)
        console.progress(1.0, "written")
    paths = {"chi": args.output, **maps, "provenance": sidecar}
    if args.method != "modl-qsm":
        del paths["unexplained"]
    return {k: None if v is None else str(v) for k, v in paths.items()} | {"warnings": result.provenance["Warnings"]}


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
    from IR2QSMLib.demo import demo

    _make_folder(args.output)
    console.say(demo(args.output, args.device, console.progress))
    console.say(f"Maps and the figure demo.png are in the folder '{args.output}'.")
    return {"folder": str(args.output), "warnings": []}


def _benchmark(args: argparse.Namespace, console: Console) -> Answer:
    from IR2QSMLib.benchmark import benchmark

    benchmark(
        args.cases, methods=args.methods, weights=args.weights, device=args.device, speed=not args.no_speed,
        progress=console.progress, emit=console.say,
    )  # fmt: skip
    return {"warnings": []}


def _train(args: argparse.Namespace, console: Console) -> Answer:
    from IR2QSMLib.inversion.reading import Reading
    from IR2QSMLib.networks.kinds import sized
    from IR2QSMLib.runtime import choose_device
    from IR2QSMLib.training import Recipe, Run
    from IR2QSMLib.training_data import Feed

    if (args.folder is None) == (args.resume is None):
        raise ParameterInvalid("Training needs a folder for a new run, or --resume with the folder of an old one.")
    if args.folder is not None and (args.folder / "recipe.json").exists() and "LOCAL_RANK" not in os.environ:
        raise ParameterInvalid(f"There is a run in '{args.folder.name}' already; go on with it with --resume.")
    if args.resume is not None and not (args.resume / "recipe.json").exists():
        raise ParameterInvalid(f"There is no run in '{args.resume.name}' to resume; give the folder of one.")
    reading = Reading(args.reads)
    settings = {k: v for k, v in vars(args).items() if k in SIZES and v is not None}
    if args.network == "ir2unet":
        settings["uncertainty"] = not args.no_uncertainty
    elif args.no_uncertainty:
        raise ParameterInvalid(f"--no-uncertainty belongs to --network ir2unet, not to {args.network}.")
    if args.passes is not None:
        settings["n_passes"] = args.passes
    network = sized(args.network, n_inputs=reading.n_channels, **settings)
    recipe = Recipe(
        network, reading, Feed(args.patch, args.batch, args.heads, args.patches, args.seed), args.loss,
        args.learning_rate,
    )  # fmt: skip
    run = Run(
        args.folder or args.resume, recipe, args.minutes, sitting=args.sitting, n_devices=args.devices,
        device=choose_device(args.device).kind, start=args.start, save_every=args.save_every,
        progress=console.progress,
    )  # fmt: skip
    scores = run()
    if not run.fabric.is_global_zero:
        return None                     # of several processes the first speaks
    console.say(json.dumps(scores))
    return {"folder": str(run.folder), "warnings": []}


def _import_weights(args: argparse.Namespace, console: Console) -> Answer:
    from IR2QSMLib.io.outputs import check_writable
    from IR2QSMLib.released_weights import import_released

    output = args.output or args.checkpoint.with_suffix(".safetensors")
    check_writable(output, (".safetensors",))
    with console.outputs as outputs:
        card = import_released(outputs, args.checkpoint, output)
    console.say(f"{output.name}: sha256 {card['sha256']}")
    return {"weights": str(output), "warnings": []}


def _inspect(args: argparse.Namespace, console: Console) -> Answer:
    from IR2QSMLib.inspection import inspect

    found = inspect(args.image, args.mask)
    return _tell(args, console, found)


def _info(args: argparse.Namespace, console: Console) -> Answer:
    from IR2QSMLib.information import information

    return _tell(args, console, information())


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

    p = _command(commands, "reconstruct", _reconstruct, "reconstruct χ from a local field and a mask", device=True)
    p.add_argument("field", type=Path, help="local field: NIfTI, NRRD or MetaImage")
    p.add_argument("mask", type=Path, help="mask on the same grid; zero outside the brain")
    p.add_argument("-o", "--output", type=Path, required=True, metavar="CHI", help="the map; a JSON goes beside it")
    p.add_argument("--method", choices=METHOD_NAMES, default="ir2qsm")
    p.add_argument("--units", choices=FIELD_UNITS, default="ppm", help="unit of the field (default: ppm)")
    p.add_argument("--b0", type=float, metavar="T", help="field strength [T], for a field in hz or rad")
    p.add_argument("--te", type=float, nargs="+", metavar="S", help="echo time [s] of a field in rad; medi: spacing")
    p.add_argument("--b0-direction", type=float, nargs=3, metavar=("X", "Y", "Z"), help="in voxel axes; default: the "
                   "patient's superior-inferior axis")  # fmt: skip
    p.add_argument("--mask-labels", type=int, nargs="+", metavar="N", help="labels of the mask that belong to it")
    p.add_argument("--non-finite", choices=("refuse", "mask"), default="refuse", help="NaN or Inf inside the mask")
    p.add_argument("--reference", default="mean", metavar="mean|none|LABELMAP", help="region whose mean χ is zero")
    p.add_argument("--uncertainty", type=Path, metavar="FILE", help="write the standard error of χ_net [ppm]")
    p.add_argument("--mask-output", type=Path, metavar="FILE", help="write the mask in which χ is valid")
    p.add_argument("--unexplained", type=Path, metavar="FILE", help="modl-qsm: write the field that χ leaves [ppm]")
    p.add_argument("--weights", type=Path, metavar="FILE", help="networks: other weights than the bundled ones")
    p.add_argument("--tile", type=int, metavar="N", help="networks: edge of tiles [voxels]; default: only when needed")
    p.add_argument("--consistency", type=float, metavar="λ", help="networks: floor of the data consistency; 0: none")
    p.add_argument("--threshold", type=float, metavar="t", help="tkd: threshold on the dipole kernel (0.15)")
    p.add_argument("--strength", type=number_or_auto, metavar="λ|auto", help="tikhonov (0.01), tv (0.0002): of the "
                   "penalty; medi (1000): of the data; auto: from the noise in the field")  # fmt: skip
    p.add_argument("--outside", choices=("zero", "free", "auto"), help="tv: field outside the mask; auto: free with "
                   "the automatic strength, else zero")  # fmt: skip
    p.add_argument("--magnitude", type=Path, metavar="FILE", help="medi: the magnitude image, for its edges")
    p.add_argument("--noise", type=Path, metavar="FILE", help="medi: the field's standard error, in its unit")
    p.add_argument("--csf", type=Path, metavar="FILE", help="medi: the ventricles, whose χ is made uniform and zero")
    p.add_argument("--smv-radius", type=float, metavar="MM", help="medi: take out the mean over such a sphere; 0: none")
    p.add_argument("--merit", action="store_true", default=None, help="medi: distrust voxels the model cannot explain")

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
    p.add_argument("--no-speed", action="store_true", help="leave the timing of the inference out")

    p = _command(commands, "train", _train, "train a network on simulated heads", device=True)
    p.add_argument("folder", type=Path, nargs="?", help="folder of a new run")
    p.add_argument("--resume", type=Path, metavar="FOLDER", help="go on with a run; its recipe is in its folder")
    p.add_argument("--minutes", type=float, required=True, help="time of the whole run, over all its sittings")
    p.add_argument("--sitting", type=float, metavar="MINUTES", help="end this sitting before the whole run's time")
    p.add_argument("--save-every", type=float, default=5.0, metavar="MINUTES")
    p.add_argument("--devices", type=int, default=1, help="devices of that kind to train on")
    p.add_argument("--network", choices=NETWORK_NAMES, default="ir2unet")
    p.add_argument("--reads", choices=("field", "tikhonov", "both"), default="both", help="what the network is given")
    p.add_argument("--width", type=float, help="factor on the channels (1)")
    p.add_argument("--passes", type=int, help="ir2unet: U-nets (4); lpcnn, modl-qsm: steps (3)")
    p.add_argument("--no-uncertainty", action="store_true", help="ir2unet: leave out the second head")
    p.add_argument("--loss", choices=("squared", "absolute", "relative", "structural"), default="squared")
    p.add_argument("--unit", type=float, help="susceptibility that the network counts as 1 [ppm] (1; lpcnn, modl-qsm: "
                   "0.03)")  # fmt: skip
    p.add_argument("--start", type=Path, metavar="FILE", help="begin from these weights of a network of that size")
    p.add_argument("--learning-rate", type=float, default=1e-3, help="the highest; a cosine takes it to zero")
    p.add_argument("--feature-noise", type=float, metavar="P", help="ir2unet: probability, in training (0.7)")
    p.add_argument("--dropout", type=float, metavar="P", help="ir2unet (0.05), lpcnn and modl-qsm (0.5)")
    p.add_argument("--patch", type=int, default=48, help="edge of patches [voxels]")
    p.add_argument("--batch", type=int, default=8)
    p.add_argument("--heads", type=int, default=4, help="heads drawn for a round")
    p.add_argument("--patches", type=int, default=20, help="patches cut from each head")
    p.add_argument("--seed", type=int, default=0)

    p = _command(commands, "import-weights", _import_weights, "convert a released checkpoint")
    p.add_argument("checkpoint", type=Path, help="model_IR2Unet.pth, LPCNN's .pkl or MoDL-QSM's .h5")
    p.add_argument("-o", "--output", type=Path, metavar="FILE", help="safetensors file; default: beside the checkpoint")

    p = _command(commands, "inspect", _inspect, "say what an image seems to be")
    p.add_argument("image", type=Path)
    p.add_argument("mask", type=Path, nargs="?")
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

