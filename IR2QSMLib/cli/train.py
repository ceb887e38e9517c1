"""`ir2qsm train`: a network on simulated heads."""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

from IR2QSMLib.cli.commands import Answer, Command
from IR2QSMLib.core.choices import NETWORK_NAMES
from IR2QSMLib.core.errors import ParameterInvalid

if TYPE_CHECKING:
    from IR2QSMLib.cli.console import Console

SIZES = ("width", "feature_noise", "dropout", "unit")
"""Options that are settings of the network; without one, a network is as published."""


def _add_options(p: argparse.ArgumentParser) -> None:
    p.add_argument("folder", type=Path, nargs="?", help="folder of a new run")
    p.add_argument("--resume", type=Path, metavar="FOLDER", help="go on with a run; its recipe is in its folder")
    p.add_argument("--minutes", type=float, required=True, help="time of the whole run, over all its sittings")
    p.add_argument("--sitting", type=float, metavar="MINUTES", help="end this sitting before the whole run's time")
    p.add_argument("--save-every", type=float, default=5.0, metavar="MINUTES")
    p.add_argument("--devices", type=int, default=1, help="devices of that kind to train on")
    p.add_argument("--network", choices=NETWORK_NAMES, default="ir2unet")
    p.add_argument(
        "--input-channels",
        nargs="+",
        choices=("field", "sharper_map", "first_map"),
        help="the network's input, in this order; default: field first_map, of whole-brain all three",
    )
    p.add_argument("--reads", choices=("field", "first", "both", "three", "tikhonov"), help=argparse.SUPPRESS)
    p.add_argument(
        "--whole-brain-map-share",
        "--whole-brain-share",
        "--whole-brain",
        type=float,
        default=0.0,
        metavar="P",
        help="share of the heads whose first map begins from that of the bundled whole-brain network",
    )
    p.add_argument(
        "--whole-heads",
        "--whole-brains",
        action="store_true",
        help="train on whole heads on coarse voxels, not on patches",
    )
    p.add_argument(
        "--voxel-size", "--voxel", type=float, metavar="MM", help="cubic voxels along B0 (drawn: 0.6 to 3 mm, oblique)"
    )
    p.add_argument("--width", type=float, help="factor on the channels (1)")
    p.add_argument("--passes", type=int, help="ir2unet: U-nets (4); lpcnn, modl-qsm: steps (3)")
    p.add_argument("--no-uncertainty", action="store_true", help="ir2unet: leave out the second head")
    p.add_argument("--no-residual", action="store_true", help="ir2unet: draw the map anew, not a correction")
    p.add_argument("--no-normalisation", action="store_true", help="ir2unet: leave batch normalisation out")
    p.add_argument("--loss", choices=("squared", "absolute", "relative", "structural"), default="squared")
    p.add_argument(
        "--unit", type=float, help="susceptibility that the network counts as 1 [ppm] (1; lpcnn, modl-qsm: 0.03)"
    )
    p.add_argument(
        "--initial-weights",
        "--start",
        type=Path,
        metavar="FILE",
        help="begin from these weights of a network of that size",
    )
    p.add_argument("--learning-rate", type=float, default=1e-3, help="the highest; a cosine takes it to zero")
    p.add_argument("--feature-noise", type=float, metavar="P", help="ir2unet: probability, in training (0.7)")
    p.add_argument("--dropout", type=float, metavar="P", help="ir2unet (0.05), lpcnn and modl-qsm (0.5)")
    p.add_argument("--patch", type=int, default=48, help="edge of patches [voxels]")
    p.add_argument("--batch", type=int, default=8)
    p.add_argument("--heads", type=int, default=4, help="heads drawn for a round")
    p.add_argument("--patches", type=int, default=20, help="patches cut from each head")
    p.add_argument(
        "--rounds-per-set",
        "--turns",
        type=int,
        default=1,
        metavar="N",
        help="rounds that a set of heads lasts, each of other patches",
    )
    p.add_argument(
        "--patch-cache",
        "--stock",
        type=Path,
        metavar="FOLDER",
        help="keep the patches there for other runs; may grow large",
    )
    p.add_argument("--seed", type=int, default=0)


def _run(args: argparse.Namespace, console: Console) -> Answer:
    from IR2QSMLib.core.devices import choose_device
    from IR2QSMLib.inversion.learned.network_input import NetworkInput
    from IR2QSMLib.networks.registry import make_config
    from IR2QSMLib.training.recipe import Recipe
    from IR2QSMLib.training.run import TrainingRun
    from IR2QSMLib.training.sampling import Sampling

    if (args.folder is None) == (args.resume is None):
        raise ParameterInvalid("Training needs a folder for a new run, or --resume with the folder of an old one.")
    if args.folder is not None and (args.folder / "recipe.json").exists() and "LOCAL_RANK" not in os.environ:
        raise ParameterInvalid(f"There is a run in '{args.folder.name}' already; go on with it with --resume.")
    if args.resume is not None and not (args.resume / "recipe.json").exists():
        raise ParameterInvalid(f"There is no run in '{args.resume.name}' to resume; give the folder of one.")
    usual = {"reads": args.reads or ("three" if args.network == "whole-brain" else "both")}
    network_input = NetworkInput.from_dict(usual if args.input_channels is None else {"channels": args.input_channels})
    settings = {k: v for k, v in vars(args).items() if k in SIZES and v is not None}
    for name, setting in (("uncertainty", "uncertainty"), ("residual", "residual"), ("normalisation", "normalised")):
        if args.network == "ir2unet":
            settings[setting] = not getattr(args, f"no_{name}")
        elif getattr(args, f"no_{name}"):
            raise ParameterInvalid(f"--no-{name} belongs to --network ir2unet, not to {args.network}.")
    if args.passes is not None:
        settings["n_passes"] = args.passes
    network = make_config(args.network, n_inputs=network_input.n_channels, **settings)
    recipe = Recipe(
        network,
        network_input,
        Sampling(
            patch_size=args.patch,
            batch_size=args.batch,
            n_heads=args.heads,
            patches_per_head=args.patches,
            rounds_per_set=args.rounds_per_set,
            seed=args.seed,
            whole_brain_map_share=args.whole_brain_map_share,
            voxel_size=args.voxel_size,
        ),
        args.loss,
        args.learning_rate,
        trains_on_whole_heads=args.whole_heads,
    )
    run = TrainingRun(
        args.folder or args.resume,
        recipe,
        args.minutes,
        sitting=args.sitting,
        n_devices=args.devices,
        device=choose_device(args.device).kind,
        initial_weights=args.initial_weights,
        patch_cache=args.patch_cache,
        save_every=args.save_every,
        progress=console.progress,
    )
    scores = run()
    if not run.fabric.is_global_zero:
        return None  # of several processes the first speaks
    console.say(json.dumps(scores))
    return {"folder": str(run.folder), "warnings": []}


COMMAND = Command("train", "train a network on simulated heads", _add_options, _run, device=True)
