"""Import of released checkpoints into a weights file with its model card."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from IR2QSMLib.inversion.learned.network_input import NetworkInput
from IR2QSMLib.io.checkpoints import read_checkpoint, read_keras
from IR2QSMLib.io.outputs import Outputs
from IR2QSMLib.io.weights import model_card, weights_bytes
from IR2QSMLib.networks.registry import network_name_of
from IR2QSMLib.networks.released import any_from_released

SOURCES = {
    "ir2unet": "Li et al. 2025, doi 10.1002/mp.17747",
    "lpcnn": "Lai et al. 2020, doi 10.1007/978-3-030-59713-9_13",
    "modl-qsm": "Feng et al. 2021, doi 10.1016/j.neuroimage.2021.118376",
}


def import_released(outputs: Outputs, checkpoint: Path, output: Path) -> dict[str, Any]:
    """Convert a released checkpoint of IR2U-net, LPCNN or MoDL-QSM.

    Parameters
    ----------
    outputs : Outputs
        Writes the weights file and its model card (.json) beside it.
    checkpoint : Path
        A torch checkpoint, or a Keras file with the suffix .h5 or .hdf5.
    output : Path
        The safetensors file to write.

    Returns
    -------
    dict
        The model card.

    Raises
    ------
    WeightsInvalid
        When the checkpoint is unreadable, asks to run code, or is not exactly one of those networks.
    PackageMissing
        For a Keras file without h5py.
    """
    read = read_keras if checkpoint.suffix in (".h5", ".hdf5") else read_checkpoint
    tensors, config = any_from_released(read(checkpoint))
    network_name = network_name_of(config)
    header = {
        "network": network_name,
        "config": asdict(config),
        "reading": asdict(NetworkInput(("field",))),
        "source": f"imported from {checkpoint.name} ({SOURCES[network_name]})",
    }
    content = weights_bytes(tensors, header, half=False)
    card = model_card(
        content, header, license="none stated by its authors; not for redistribution", intended_use="research"
    )
    outputs.bytes(output, content)
    outputs.json(output.with_suffix(".json"), card)
    return card
