"""Fixtures of the server's tests: servers in this process, each on a port of its own, and a request."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from IR2QSMLib.server.request import RunRequest, SentFile
from Testing.Library.servers import RunningServer, servers


@pytest.fixture
def start_server(tmp_path: Path) -> Iterator[Callable[..., RunningServer]]:
    """Start servers with the limits that a test needs; they end with it."""
    with servers(tmp_path) as start:
        yield start


@pytest.fixture
def small_run() -> Callable[..., RunRequest]:
    """A request of one small field."""

    def make(**changes: Any) -> RunRequest:
        values = {
            "options": {"method": "tkd"},
            "files": (SentFile("field", 0, ("field.nii",), 4),),
            "results": {"output": ".nii.gz"},
        }
        return RunRequest(**(values | changes))

    return make
