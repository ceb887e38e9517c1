"""Tables in Markdown."""

from __future__ import annotations

from IR2QSMLib.report.table import markdown_table


def test_a_table_aligns_names_to_the_left_and_numbers_to_the_right() -> None:
    text = markdown_table([["IR²QSM", "0.8", "12.5"], ["TKD, best (0.15)", "0.74", "7"]], ["method", "XSIM", "s"])
    assert text.splitlines() == [
        "| method           | XSIM |    s |",
        "|------------------|-----:|-----:|",
        "| IR²QSM           |  0.8 | 12.5 |",
        "| TKD, best (0.15) | 0.74 |    7 |",
    ]
