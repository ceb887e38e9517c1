"""What is installed: versions, methods with their options, devices that work, weights; for `ir2qsm info`."""

from __future__ import annotations

import json
import platform
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from IR2QSMLib.core.devices import devices, half_precision
from IR2QSMLib.core.errors import WeightsInvalid
from IR2QSMLib.core.options import Option, number_or_auto
from IR2QSMLib.core.units import FIELD_UNITS, TE_RANGE
from IR2QSMLib.core.version import __version__
from IR2QSMLib.inversion.learned.tiles import TILES
from IR2QSMLib.inversion.registry import METHODS, MethodInfo
from IR2QSMLib.io.weights import models_folder, read_weights

OPTION_KINDS = {float: "number", int: "whole number", Path: "file", str: "word", number_or_auto: "number or auto"}


def information() -> dict[str, Any]:
    """Versions, units, methods with their options, devices (each probed with a kernel), bundled weights: for JSON."""
    return {
        "version": __version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "simpleitk": version("SimpleITK"),
        "numpy": version("numpy"),
        "units": FIELD_UNITS,
        "echo_time_range_s": TE_RANGE,
        "tiles": TILES,
        "methods": {name: _method(entry) for name, entry in METHODS.items()},
        "devices": [
            {**asdict(d), "bfloat16": d.problem is None and half_precision(d.kind) is not None} for d in devices()
        ],
        "weights": _weights(),
    }


def _method(entry: MethodInfo) -> dict[str, Any]:
    try:
        problem = entry.unavailable_reason
    except WeightsInvalid as error:  # an installation without any weights
        problem = str(error)
    description = {
        "sentence": entry.description,
        "citation": entry.citation,
        "needs": entry.required_inputs,
        "options": {name: _option(*declared) for name, declared in entry.options.items()},
        "volumes": entry.volumes,
        "outputs": entry.outputs,
        "available": problem is None,
    }
    return description if problem is None else {**description, "problem": problem}


def _option(option: Option, default: Any) -> dict[str, Any]:
    """One option of a method, for a panel to offer."""
    return {
        "help": option.help,
        "kind": "flag" if option.flag else OPTION_KINDS[option.parse],
        "choices": option.choices,
        "range": option.limits,
        "default": default,
    }


def _weights() -> list[dict[str, Any]]:
    try:
        files = sorted(models_folder().glob("*.safetensors"))
    except WeightsInvalid as error:
        return [{"problem": str(error)}]
    described: list[dict[str, Any]] = []
    for path in files:
        try:
            weights = read_weights(path)
            config = json.dumps(weights.header.get("config"))
            described.append({"name": weights.name, "sha256": weights.sha256, "config": config})
        except WeightsInvalid as error:
            described.append({"name": path.name, "problem": str(error)})
    return described
