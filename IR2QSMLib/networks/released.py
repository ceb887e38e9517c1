"""The authors' released IR2U-net checkpoint: its keys, its leftovers, and their names here."""

from __future__ import annotations

import re

from torch import Tensor

from IR2QSMLib.errors import WeightsInvalid
from IR2QSMLib.networks.ir2unet import N_LEVELS, IR2Unet, IR2UnetConfig

LEFTOVER = re.compile(r"iteration0_layer\d_encoder_conv1\.|post_transform_conv_block1\.")
"""Parts that the released code makes and never uses."""


def _names(n_passes: int) -> dict[str, str]:
    """The released name of every module of ours that holds parameters."""
    names = {"head": "post_transform_conv_block2.0"}
    for t in range(n_passes):
        ours, theirs = f"passes.{t}", f"iteration{t}"
        blocks = {
            "pre.0": "pre_transform.0.conv",
            "pre.2": "pre_transform.2.conv",
            "middle.gate": "middle.update_gate.conv",
            "middle.candidate": "middle.out_gate.conv",
            "post": "post_transform.0.conv",
        }
        for level in range(N_LEVELS):
            if t > 0:
                blocks[f"encoders.{level}.reverse"] = f"layer{level}_encoder_conv1.conv"
            blocks[f"encoders.{level}.skip"] = f"layer{level}_encoder_conv2.1.conv"
            blocks[f"encoders.{level}.down"] = f"layer{level}_encoder_down.0.conv"
            theirs_up = N_LEVELS - 1 - level        # the released layer0_decoder is the deepest level
            blocks[f"decoders.{level}.up"] = f"layer{theirs_up}_decoder_up.deconv"
            blocks[f"decoders.{level}.wide"] = f"layer{theirs_up}_decoder_convs.0.conv"
            blocks[f"decoders.{level}.narrow"] = f"layer{theirs_up}_decoder_convs.2.conv"
        for mine, its in blocks.items():
            for part in ("0", "1"):                 # convolution, batch normalisation
                names[f"{ours}.{mine}.{part}"] = f"{theirs}_{its}.{part}"
        names[f"{ours}.head"] = f"{theirs}_post_transform.1"
    return names


def from_released(state: dict[str, Tensor]) -> tuple[dict[str, Tensor], IR2UnetConfig]:
    """Our tensors and configuration from a released state dict, of any width and number of passes.

    Strict: every used key must be there with its shape, the leftovers are dropped, nothing else is tolerated. Raises
    WeightsInvalid that names what is missing, unknown or misshapen.
    """
    state = {k.removeprefix("module."): v for k, v in state.items()}
    n_passes = sum(bool(re.fullmatch(r"iteration\d+_pre_transform\.0\.conv\.0\.weight", k)) for k in state)
    first = state.get("iteration0_pre_transform.0.conv.0.weight")
    if n_passes == 0 or first is None or first.ndim != 5:
        raise WeightsInvalid("The checkpoint holds no IR2U-net (no iteration0_pre_transform); expected the authors'.")
    config = IR2UnetConfig(width=first.shape[0] / 16.0, n_passes=n_passes, feature_noise=0.0, dropout=0.0)
    expected = IR2Unet(config).state_dict()
    names = _names(n_passes)
    found: dict[str, Tensor] = {}
    missing = []
    for key, tensor in expected.items():
        module, parameter = key.rsplit(".", 1)
        its = f"{names[module]}.{parameter}"
        if its not in state:
            missing.append(its)
        elif state[its].shape != tensor.shape:
            raise WeightsInvalid(
                f"The checkpoint's '{its}' has shape {tuple(state[its].shape)}, expected {tuple(tensor.shape)}."
            )
        else:
            found[key] = state.pop(its)
    unknown = sorted(k for k in state if not LEFTOVER.match(k))
    if missing or unknown:
        raise WeightsInvalid(
            f"The checkpoint is no complete IR2U-net: {len(missing)} keys missing {missing[:3]}, {len(unknown)} "
            f"unknown {unknown[:3]}; expected the authors' model_IR2Unet.pth."
        )
    return found, config
