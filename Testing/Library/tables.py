"""Reads Markdown tables back."""

from __future__ import annotations


def rows_of(text: str) -> list[dict[str, str]]:
    """The rows of a Markdown table by column."""
    lines = [[c.strip() for c in line.strip("|").split("|")] for line in text.splitlines() if line.startswith("|")]
    return [dict(zip(lines[0], line, strict=True)) for line in lines[2:]]


def rows_by_method(text: str) -> dict[str, dict[str, str]]:
    """The rows of a Markdown table by their method."""
    return {row["method"]: row for row in rows_of(text)}
