"""Released checkpoints of IR2U-net, LPCNN and MoDL-QSM: their keys, their leftovers, and their names here."""

from __future__ import annotations

import re

import torch
from torch import Tensor

from IR2QSMLib.core.errors import WeightsInvalid
from IR2QSMLib.networks.ir2unet import N_LEVELS, IR2Unet, IR2UnetConfig
from IR2QSMLib.networks.lpcnn import Lpcnn, LpcnnConfig
from IR2QSMLib.networks.modl_qsm import ModlQsm, ModlQsmConfig
from IR2QSMLib.networks.registry import Config

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
            theirs_up = N_LEVELS - 1 - level  # the released layer0_decoder is the deepest level
            blocks[f"decoders.{level}.up"] = f"layer{theirs_up}_decoder_up.deconv"
            blocks[f"decoders.{level}.wide"] = f"layer{theirs_up}_decoder_convs.0.conv"
            blocks[f"decoders.{level}.narrow"] = f"layer{theirs_up}_decoder_convs.2.conv"
        for mine, its in blocks.items():
            for part in ("0", "1"):  # convolution, batch normalisation
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
    names = _names(n_passes)
    return _taken(state, IR2Unet(config).state_dict(), names, "IR2U-net", "the authors' model_IR2Unet.pth"), config


def _taken(
    state: dict[str, Tensor], expected: dict[str, Tensor], names: dict[str, str], network: str, advice: str
) -> dict[str, Tensor]:
    """Our tensors from theirs, `names` giving their name of each module of ours."""
    state, found, missing = dict(state), {}, []
    for key, tensor in expected.items():
        module, _, parameter = key.rpartition(".")
        its = f"{names[module]}.{parameter}" if module else names[parameter]
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
            f"The checkpoint is no complete {network}: {len(missing)} keys missing {missing[:3]}, {len(unknown)} "
            f"unknown {unknown[:3]}; expected {advice}."
        )
    return found


LPCNN_NORMALISATION = (-0.00024724603240382513, 0.028365555003933052)
"""Mean and standard deviation of χ [ppm] in the authors' training maps, which their checkpoint lacks."""
MODL_NORMALISATION = (-0.00225653, 0.026075, -0.00048529, 0.00408228)
"""The same of χ₃₃ and of the field of the off-diagonal terms, from the NormFactor.mat beside the authors' weights."""


def _residual_names() -> dict[str, str]:
    """LPCNN's names of the modules of a `ResidualNetwork`."""
    names = {"first.0": "gen.0", "mix.0": "gen.3", "mix.2": "gen.5", "head": "gen.7"}
    for i in range(8):
        for ours, its in ((0, "conv1"), (1, "bn1"), (4, "conv2"), (5, "bn2")):
            names[f"blocks.{i}.change.{ours}"] = f"gen.2.{i}.{its}"
    return {f"proximal.{k}": v for k, v in names.items()}


def lpcnn_from_released(state: dict[str, Tensor]) -> tuple[dict[str, Tensor], LpcnnConfig]:
    """Our tensors and configuration from LPCNN's released state dict (Lai 2020), of any width.

    Strict; raises WeightsInvalid that names what is missing, unknown or misshapen. With several orientations, our step
    is the mean of theirs, which are summed: see `Lpcnn`.
    """
    state = {k.removeprefix("module."): v for k, v in state.items()}
    first = state.get("gen.0.weight")
    if first is None or first.ndim != 5:
        raise WeightsInvalid("The checkpoint holds no LPCNN (no gen.0.weight); expected the authors'.")
    mean, unit = LPCNN_NORMALISATION
    config = LpcnnConfig(first.shape[0] / 32.0, dropout=0.0, mean=mean, unit=unit, masked=False)
    names = {**_residual_names(), "step": "alpha"}
    return _taken(state, Lpcnn(config).state_dict(), names, "LPCNN", "the authors' lpcnn_test_Bmodel.pkl"), config


def modl_qsm_from_released(arrays: dict[str, Tensor]) -> tuple[dict[str, Tensor], ModlQsmConfig]:
    """Our tensors and configuration from MoDL-QSM's released Keras file (Feng 2021), of any width.

    `arrays` are its datasets by name. Strict; raises WeightsInvalid that names what is missing, unknown or misshapen.
    """
    state: dict[str, Tensor] = {}
    parts = {"gamma": "weight", "beta": "bias", "moving_mean": "running_mean", "moving_variance": "running_var"}
    for name, array in arrays.items():
        module, _, part = name.removeprefix("model_1/").removesuffix(":0").rpartition("/")
        if part == "kernel" and array.ndim == 5:
            array = array.permute(4, 3, 0, 1, 2)  # Keras: (x, y, z, in, out)
        if part == "moving_variance":
            array = array + (1e-3 - 1e-5)  # Keras adds the first to a variance, torch the second
            state[f"{module}.num_batches_tracked"] = torch.tensor(0)
        state[f"{module}.{parts.get(part, 'weight' if part == 'kernel' else part)}"] = array
    step = "my_layer_1/my_layer_1.step"
    if step in state:
        state["step"] = state.pop(step).reshape(1)
    first = state.get("conv3d_1.weight")
    if first is None or first.ndim != 5:
        raise WeightsInvalid("The file holds no MoDL-QSM (no model_1/conv3d_1/kernel); expected the authors' last.h5.")
    names = {"step": "step"}
    order = {"gen.0": 1, "gen.3": 18, "gen.5": 19, "gen.7": 20}
    for ours, its in _residual_names().items():
        if its in order:
            names[ours] = f"conv3d_{order[its]}"
        else:
            _, _, block, part = its.split(".")
            n = 2 * int(block) + int(part[-1])  # the first convolution of all has no normalisation
            names[ours] = f"conv3d_{n + 1}" if part.startswith("conv") else f"batch_normalization_{n}"
    mean, unit, unexplained_mean, unexplained_unit = MODL_NORMALISATION
    config = ModlQsmConfig(
        first.shape[0] / 32.0,
        dropout=0.0,
        mean=mean,
        unit=unit,
        unexplained_mean=unexplained_mean,
        unexplained_unit=unexplained_unit,
        masked=False,
    )
    return _taken(state, ModlQsm(config).state_dict(), names, "MoDL-QSM", "the authors' last.h5"), config


def any_from_released(state: dict[str, Tensor]) -> tuple[dict[str, Tensor], Config]:
    """Our tensors and configuration from whichever released checkpoint a state dict is of; raises WeightsInvalid."""
    if any("conv3d_" in k for k in state):
        return modl_qsm_from_released(state)
    if any(k.removeprefix("module.").startswith("gen.") for k in state):
        return lpcnn_from_released(state)
    return from_released(state)
