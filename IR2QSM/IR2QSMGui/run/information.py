"""What `ir2qsm info` says of methods, devices and limits: asked of a worker once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from IR2QSMGui.run import install
from IR2QSMGui.run.worker import Worker


class LibraryInformation:
    """The library's methods, devices, tiles and range of echo times; empty until a worker has answered."""

    def __init__(self) -> None:
        self.answer: dict[str, Any] = {}
        self.error = ""
        self._worker: Worker | None = None
        self._listeners: list[Callable[[], None]] = []

    def listen(self, listener: Callable[[], None]) -> None:
        """Call `listener()` when there is an answer or an error."""
        self._listeners.append(listener)

    def ask(self) -> bool:
        """Ask a worker, unless one was asked before; returns whether an answer is awaited."""
        if self._worker is None and not install.missing():
            self._worker = Worker(["info", "--json"], on_end=self._answered).start()
        return self.waiting

    def retry(self) -> None:
        """Let it be asked once more after an error."""
        if self.error:
            self._worker, self.error = None, ""

    @property
    def waiting(self) -> bool:
        """Whether an answer is awaited."""
        return self._worker is not None and not self._worker.ended

    def kill(self) -> None:
        """End the worker; nobody waits for it any more."""
        if self._worker is not None:
            self._worker.on_end = lambda worker: None
            self._worker.kill()

    def method(self, name: str) -> dict[str, Any]:
        """Sentence, citation, needs and options of a method; empty while they are not known."""
        return self.answer.get("methods", {}).get(name, {})

    @property
    def tiles(self) -> list[int]:
        """Edges of tiles [voxels] that a network accepts."""
        return sorted(self.answer.get("tiles", ()), reverse=True)

    @property
    def echo_time_range(self) -> tuple[float, float] | None:
        """Shortest and longest echo time [s] that the library accepts, None while it is not known."""
        limits = self.answer.get("echo_time_range_s")
        return (float(limits[0]), float(limits[1])) if limits else None

    def needs(self, methods: list[str]) -> set[str]:
        """Inputs that the methods cannot do without, in the library's words."""
        return {need for name in methods for need in self.method(name).get("needs", [])}

    def takes(self, methods: list[str], option: str) -> bool:
        """Whether one of the methods has that option, or takes that volume."""
        described = [self.method(name) for name in methods]
        return any(option in one.get(key, ()) for one in described for key in ("options", "volumes", "outputs"))

    def _answered(self, worker: Worker) -> None:
        self.answer, self.error = worker.result or {}, str(worker.error or "")
        for listener in self._listeners:
            listener()
