"""Import of the authors' released checkpoint into a weights file with its model card."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from IR2QSMLib.inversion.learned import Reading
from IR2QSMLib.io.outputs import Outputs
from IR2QSMLib.io.weights import model_card, read_checkpoint, weights_bytes
from IR2QSMLib.networks.released import from_released


def import_released(outputs: Outputs, checkpoint: Path, output: Path) -> dict[str, Any]:
    """Convert a released IR2U-net checkpoint: a safetensors file and a model card (.json) beside it; return the card.

    Raises WeightsInvalid when the checkpoint is unreadable, asks to run code, or is not exactly that network.
    """
    tensors, config = from_released(read_checkpoint(checkpoint))
    reading = asdict(Reading("field"))
    source = f"imported from {checkpoint.name} (Li et al. 2025, doi 10.1002/mp.17747)"
    header = {"network": "ir2unet", "config": asdict(config), "reading": reading, "source": source}
    content = weights_bytes(tensors, header, half=False)
    card = model_card(
        content, header, license="none stated by its authors; not for redistribution", intended_use="research"
    )
    outputs.bytes(output, content)
    outputs.json(output.with_suffix(".json"), card)
    return card
