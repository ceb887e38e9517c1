"""The methods by name, and their provenance."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from IR2QSMLib.core.errors import ParameterInvalid
from IR2QSMLib.core.progress import silent
from IR2QSMLib.inversion.direct import Tikhonov, TruncatedDivision
from IR2QSMLib.inversion.ilsqr import Ilsqr
from IR2QSMLib.inversion.learned.method import Learned
from IR2QSMLib.inversion.medi import Medi
from IR2QSMLib.inversion.registry import METHODS, Method, make_method, method_provenance
from IR2QSMLib.inversion.tv import TotalVariation
from IR2QSMLib.physics.dipole import dipole_kernel
from Testing.Library.inversion.medi_case import head


@pytest.mark.parametrize(
    ("name", "parameters", "expected"),
    [
        ("tkd", {}, TruncatedDivision(0.15)),
        ("tkd", {"threshold": 0.2}, TruncatedDivision(0.2)),
        ("tkd", {"threshold": "auto"}, TruncatedDivision("auto")),
        ("tikhonov", {"regularisation": 0.05}, Tikhonov(0.05)),
        ("tikhonov", {"regularisation": "auto"}, Tikhonov("auto")),
        ("tv", {"regularisation": 1e-3, "outside": "free"}, TotalVariation(1e-3, "free")),
        ("ilsqr", {"cone": 0.2}, Ilsqr(0.2)),
        ("medi", {"smv_radius": 5.0, "merit": True}, Medi(smv_radius=5.0, merit=True)),
        ("ir2qsm", {"tile": 96}, Learned(tile=96)),
    ],
)
def test_a_name_and_parameters_make_the_method(name: str, parameters: dict[str, float], expected: object) -> None:
    assert make_method(name, **parameters) == expected


def test_an_unknown_method_is_refused_with_those_there_are() -> None:
    listed = r"ir2qsm, unet, xqsm, lpcnn, modl-qsm, tkd, tikhonov, tv, ilsqr, medi"
    with pytest.raises(ParameterInvalid, match=rf"^The method is 'star'; expected one of {listed}\.$"):
        make_method("star")


@pytest.mark.parametrize(
    ("name", "parameters", "message"),
    [
        (
            "tkd",
            {"regularisation": 0.1},
            r"'tkd' has no parameter 'regularisation'; expected threshold",
        ),
        ("tikhonov", {"tile": 64}, r"^The method 'tikhonov' has no parameter 'tile'"),
        ("tkd", {"threshold": "high"}, r"The TKD threshold is high; expected a number between 0 and 2/3, or auto\.$"),
        ("tkd", {"threshold": True}, "is True; expected a number"),
        ("tkd", {"threshold": None}, "is None; expected a number or a word"),
        ("ir2qsm", {"tile": 64.5}, r"is 64\.5; expected a whole number or none"),
        ("ir2qsm", {"weights": "a.safetensors"}, "expected a file or none"),
        ("ir2qsm", {"use_whole_brain_map": "no"}, "is 'no'; expected true or false"),
    ],
)
def test_a_parameter_of_another_method_or_type_is_refused(
    name: str, parameters: dict[str, object], message: str
) -> None:
    with pytest.raises(ParameterInvalid, match=message):
        make_method(name, **parameters)


def test_a_value_out_of_range_is_refused_by_the_method_itself() -> None:
    with pytest.raises(ParameterInvalid, match="The TKD threshold is 1; expected"):
        make_method("tkd", threshold=1.0)


@pytest.mark.parametrize("name", list(METHODS))
def test_the_provenance_of_a_method_makes_the_same_method(name: str) -> None:
    made = make_method(name)
    provenance = json.loads(json.dumps(method_provenance(made)))
    assert provenance["name"] == name
    assert "doi" in provenance["citation"]
    assert make_method(name, **provenance["parameters"]) == made


def test_the_provenance_of_a_method_holds_no_folder() -> None:
    provenance = method_provenance(Learned(Path("/home/someone/weights.safetensors"), regularisation_factor=0.1))
    assert provenance["parameters"]["weights"] == "weights.safetensors"
    assert provenance["parameters"]["regularisation_factor"] == 0.1
    assert "someone" not in json.dumps(provenance)


@pytest.mark.parametrize(
    "chosen",
    [
        TruncatedDivision("auto"),
        Tikhonov("auto"),
        TotalVariation("auto"),
        TotalVariation(),
        Ilsqr(),
        Medi(smv_radius=2.0),
    ],
)
def test_no_method_changes_the_kernel_that_all_share(chosen: Method) -> None:
    field, _ = head()
    kernel = dipole_kernel(field.grid)
    before = kernel.clone()
    chosen(field, silent)
    assert dipole_kernel(field.grid) is kernel and torch.equal(kernel, before)


def test_a_method_of_the_users_own_is_named_by_its_type() -> None:
    class OwnMethod:
        pass

    assert method_provenance(OwnMethod()) == {"name": "OwnMethod", "citation": None, "parameters": {}}  # type: ignore[arg-type]
