"""Names that can be chosen are those of what is there."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from IR2QSMLib.core import choices
from IR2QSMLib.inversion.learned.method import Learned
from IR2QSMLib.inversion.registry import METHODS
from IR2QSMLib.networks.registry import NETWORKS
from IR2QSMLib.pipeline.preprocess import BACKGROUNDS, UNWRAPPINGS

ROOT = Path(__file__).resolve().parents[3]


def test_methods_are_those_of_the_registry() -> None:
    assert tuple(METHODS) == choices.METHOD_NAMES
    learned = [name for name, entry in METHODS.items() if isinstance(entry.method_class(), Learned)]
    assert list(choices.LEARNED_NAMES) == learned


def test_networks_are_those_of_the_registry() -> None:
    assert tuple(NETWORKS) == choices.NETWORK_NAMES


def test_steps_of_the_preprocessing_are_those_that_there_are() -> None:
    assert tuple(BACKGROUNDS) == choices.BACKGROUNDS
    assert tuple(UNWRAPPINGS) == choices.UNWRAPPINGS


def test_names_are_had_without_torch() -> None:
    script = "import sys, IR2QSMLib.core.choices, IR2QSMLib.core.options\nsys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", script], cwd=ROOT, check=True)
