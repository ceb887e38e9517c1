"""Methods as text."""

from __future__ import annotations

import pytest

from IR2QSMLib.core.errors import ParameterInvalid
from IR2QSMLib.evaluation.comparison_options import parse_methods
from IR2QSMLib.inversion.direct import TruncatedDivision
from IR2QSMLib.inversion.medi import Medi
from IR2QSMLib.inversion.tv import TotalVariation


def test_methods_are_parsed_with_their_parameters() -> None:
    methods = parse_methods(["tkd", "tv,regularisation=auto,max_iterations=7", "medi,merit=true,smv_radius=4"])
    assert list(methods.values()) == [
        TruncatedDivision(),
        TotalVariation("auto", max_iterations=7),
        Medi(merit=True, smv_radius=4),
    ]


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (["cosmos"], r"The method is 'cosmos'; expected one of ir2qsm, unet"),
        (["tkd", "tkd"], r"'tkd' was named twice"),
        (["tkd,0.2"], r"'0.2' after a comma; expected parameter=value"),
        (["tkd,threshold=2"], r"The TKD threshold is 2; expected"),
        (["tkd,regularisation=2"], r"'tkd' has no parameter 'regularisation'; expected threshold"),
        (["tv,max_iterations=many"], r"'max_iterations' of the method 'tv' is 'many'; expected a whole number"),
        (["ilsqr,rounds=1.5"], r"'rounds' of the method 'ilsqr' is 1\.5; expected a whole number"),
        (["medi,merit=no"], r"'merit' of the method 'medi' is 'no'; expected true or false"),
        (
            ["tikhonov,regularisation=true"],
            r"'regularisation' of the method 'tikhonov' is True; expected a number or a word",
        ),
        (["tkd,threshold=0.1,threshold=0.3"], r"gives threshold twice"),
    ],
)
def test_invalid_methods_are_refused(texts: list[str], message: str) -> None:
    with pytest.raises(ParameterInvalid, match=message):
        parse_methods(texts)
