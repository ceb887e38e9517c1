"""Released checkpoints of IR2U-net, LPCNN and MoDL-QSM, converted to the networks of this library."""

from __future__ import annotations

import re

import torch
from torch import Tensor

from IR2QSMLib.core.errors import WeightsInvalid
from IR2QSMLib.networks.ir2unet import N_LEVELS, IR2Unet, IR2UnetConfig
from IR2QSMLib.networks.lpcnn import Lpcnn, LpcnnConfig
from IR2QSMLib.networks.modl_qsm import ModlQsm, ModlQsmConfig
from IR2QSMLib.networks.registry import Config

UNUSED_KEYS = re.compile(r"iteration0_layer\d_encoder_conv1\.|post_transform_conv_block1\.")
"""Parts that the released code makes and never uses."""


def _ir2unet_names(n_passes: int) -> dict[str, str]:
    """The released name of every module of `IR2Unet` with parameters."""
    names = {"head": "post_transform_conv_block2.0"}
    for t in range(n_passes):
        prefix, released_prefix = f"passes.{t}", f"iteration{t}"
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
            released_level = N_LEVELS - 1 - level  # layer0_decoder is the deepest level
            blocks[f"decoders.{level}.up"] = f"layer{released_level}_decoder_up.deconv"
            blocks[f"decoders.{level}.wide"] = f"layer{released_level}_decoder_convs.0.conv"
            blocks[f"decoders.{level}.narrow"] = f"layer{released_level}_decoder_convs.2.conv"
        for block, released_block in blocks.items():
            for part in ("0", "1"):  # convolution, batch normalisation
                names[f"{prefix}.{block}.{part}"] = f"{released_prefix}_{released_block}.{part}"
        names[f"{prefix}.head"] = f"{released_prefix}_post_transform.1"
    return names


def ir2unet_from_released(state: dict[str, Tensor]) -> tuple[dict[str, Tensor], IR2UnetConfig]:
    """Convert a released state dict of IR2U-net, of any width and number of passes.

    Parameters
    ----------
    state : dict of Tensor
        The authors' model_IR2Unet.pth. Its unused keys are dropped.

    Returns
    -------
    tuple of dict and IR2UnetConfig
        State dict and configuration of an `IR2Unet`.

    Raises
    ------
    WeightsInvalid
        Naming keys that are missing, unknown or of another shape.
    """
    state = {k.removeprefix("module."): v for k, v in state.items()}
    n_passes = sum(bool(re.fullmatch(r"iteration\d+_pre_transform\.0\.conv\.0\.weight", k)) for k in state)
    first = state.get("iteration0_pre_transform.0.conv.0.weight")
    if n_passes == 0 or first is None or first.ndim != 5:
        raise WeightsInvalid("The checkpoint holds no IR2U-net (no iteration0_pre_transform); expected the authors'.")
    config = IR2UnetConfig(width=first.shape[0] / 16.0, n_passes=n_passes, feature_noise=0.0, dropout=0.0)
    names = _ir2unet_names(n_passes)
    return _renamed(state, IR2Unet(config).state_dict(), names, "IR2U-net", "the authors' model_IR2Unet.pth"), config


def _renamed(
    state: dict[str, Tensor], expected: dict[str, Tensor], names: dict[str, str], network: str, advice: str
) -> dict[str, Tensor]:
    """The tensors under the library's names, `names` having the released name of each module."""
    state, renamed, missing = dict(state), {}, []
    for key, tensor in expected.items():
        module, _, parameter = key.rpartition(".")
        released_key = f"{names[module]}.{parameter}" if module else names[parameter]
        if released_key not in state:
            missing.append(released_key)
        elif state[released_key].shape != tensor.shape:
            raise WeightsInvalid(
                f"The checkpoint's '{released_key}' has shape {tuple(state[released_key].shape)}, expected "
                f"{tuple(tensor.shape)}."
            )
        else:
            renamed[key] = state.pop(released_key)
    unknown = sorted(k for k in state if not UNUSED_KEYS.match(k))
    if missing or unknown:
        raise WeightsInvalid(
            f"The checkpoint is no complete {network}: {len(missing)} keys missing {missing[:3]}, {len(unknown)} "
            f"unknown {unknown[:3]}; expected {advice}."
        )
    return renamed


LPCNN_NORMALISATION = (-0.00024724603240382513, 0.028365555003933052)
"""Mean and standard deviation of χ [ppm] in the authors' training maps; their checkpoint has neither."""
MODL_NORMALISATION = (-0.00225653, 0.026075, -0.00048529, 0.00408228)
"""The same of χ₃₃ and of the field of the off-diagonal terms, from the NormFactor.mat beside the authors' weights."""


def _residual_names() -> dict[str, str]:
    """LPCNN's names of the modules of a `ResidualNetwork`."""
    names = {"first.0": "gen.0", "mix.0": "gen.3", "mix.2": "gen.5", "head": "gen.7"}
    for i in range(8):
        for layer, released_layer in ((0, "conv1"), (1, "bn1"), (4, "conv2"), (5, "bn2")):
            names[f"blocks.{i}.change.{layer}"] = f"gen.2.{i}.{released_layer}"
    return {f"proximal.{k}": v for k, v in names.items()}


def lpcnn_from_released(state: dict[str, Tensor]) -> tuple[dict[str, Tensor], LpcnnConfig]:
    """Convert LPCNN's released state dict (Lai 2020), of any width.

    With several orientations `Lpcnn` averages the steps that the released code sums.

    Parameters
    ----------
    state : dict of Tensor
        The model state in the authors' lpcnn_test_Bmodel.pkl.

    Returns
    -------
    tuple of dict and LpcnnConfig
        State dict and configuration of an `Lpcnn`.

    Raises
    ------
    WeightsInvalid
        Naming keys that are missing, unknown or of another shape.
    """
    state = {k.removeprefix("module."): v for k, v in state.items()}
    first = state.get("gen.0.weight")
    if first is None or first.ndim != 5:
        raise WeightsInvalid("The checkpoint holds no LPCNN (no gen.0.weight); expected the authors'.")
    mean, unit = LPCNN_NORMALISATION
    config = LpcnnConfig(first.shape[0] / 32.0, dropout=0.0, mean=mean, unit=unit, masked=False)
    names = {**_residual_names(), "step": "alpha"}
    return _renamed(state, Lpcnn(config).state_dict(), names, "LPCNN", "the authors' lpcnn_test_Bmodel.pkl"), config


def modl_qsm_from_released(arrays: dict[str, Tensor]) -> tuple[dict[str, Tensor], ModlQsmConfig]:
    """Convert MoDL-QSM's released Keras file (Feng 2021), of any width.

    Parameters
    ----------
    arrays : dict of Tensor
        Datasets of the authors' last.h5, by name.

    Returns
    -------
    tuple of dict and ModlQsmConfig
        State dict and configuration of a `ModlQsm`.

    Raises
    ------
    WeightsInvalid
        Naming keys that are missing, unknown or of another shape.
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
    for module, lpcnn_module in _residual_names().items():
        if lpcnn_module in order:
            names[module] = f"conv3d_{order[lpcnn_module]}"
        else:
            _, _, block, part = lpcnn_module.split(".")
            n = 2 * int(block) + int(part[-1])  # the first convolution has no normalisation
            names[module] = f"conv3d_{n + 1}" if part.startswith("conv") else f"batch_normalization_{n}"
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
    return _renamed(state, ModlQsm(config).state_dict(), names, "MoDL-QSM", "the authors' last.h5"), config


def any_from_released(state: dict[str, Tensor]) -> tuple[dict[str, Tensor], Config]:
    """Convert the released checkpoint of whichever network a state dict is of.

    Parameters
    ----------
    state : dict of Tensor
        Tensors by released name.

    Returns
    -------
    tuple of dict and Config
        State dict and configuration of the network.

    Raises
    ------
    WeightsInvalid
        When it is none of the three, or not exactly one of them.
    """
    if any("conv3d_" in k for k in state):
        return modl_qsm_from_released(state)
    if any(k.removeprefix("module.").startswith("gen.") for k in state):
        return lpcnn_from_released(state)
    return ir2unet_from_released(state)
