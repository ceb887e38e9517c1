"""`ir2qsm reconstruct --server`: the inputs to a server, its results to where a local run would write them."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from IR2QSMLib.cli.commands import make_folder
from IR2QSMLib.core.choices import VOLUME_SUFFIXES
from IR2QSMLib.core.errors import FileUnreadable, ParameterInvalid, ServerUnavailable, errors_naming
from IR2QSMLib.io.sidecars import image_stem, read_sidecar
from IR2QSMLib.server.contents import require_self_contained
from IR2QSMLib.server.request import INPUT_FILES, SAFE_OPTIONS, RunRequest, SentFile, total_size

if TYPE_CHECKING:
    from IR2QSMLib.cli.console import Console
    from IR2QSMLib.io.outputs import Outputs
    from IR2QSMLib.server.client import Source

WITH_SIDECAR = ("field", "echoes", "imaginary", "magnitude")
"""Images whose metadata count."""
SENT, COMPUTED = 0.05, 0.95
"""Fractions of a run at which everything is sent, and computed."""


def add_server_options(p: argparse.ArgumentParser) -> None:
    """Where to compute, if not here."""
    p.add_argument(
        "--server", metavar="ADDRESS", help="compute on another computer, on which ir2qsm serve runs: https://name:8765"
    )
    p.add_argument("--token-file", type=Path, metavar="FILE", help="the server's token (default: IR2QSM_TOKEN is it)")
    p.add_argument(
        "--server-certificate", type=Path, metavar="FILE", help="the server's certificate, if nobody vouches for it"
    )


def require_server(args: argparse.Namespace) -> None:
    """Raise ParameterInvalid for options of a server without one, and for a device that the server chooses itself."""
    if args.server is None:
        for name in ("token_file", "server_certificate"):
            if getattr(args, name) is not None:
                flag = f"--{name.replace('_', '-')}"
                raise ParameterInvalid(f"{flag} goes with --server; give its address, or leave it out.", option=name)
    elif args.device != "auto":
        raise ParameterInvalid("The server chooses its device; leave --device out.", option="device")


def reconstruct_on_server(
    args: argparse.Namespace, console: Console, results: dict[str, Path | None]
) -> tuple[list[str], dict[str, str]]:
    """Run `ir2qsm reconstruct` with these arguments on a server and write what it made.

    Parameters
    ----------
    args
        Checked as far as the paths of results go.
    console
        Of the run.
    results
        Where each map goes, by the option that names it; None for maps that are not wanted.

    Returns
    -------
    warnings, kept
        As in the answer of a local run.
    """
    from IR2QSMLib.core.progress import part_of
    from IR2QSMLib.pipeline.result import sidecar_path
    from IR2QSMLib.server.client import Server
    from IR2QSMLib.server.tokens import read_token

    server = Server(args.server, read_token(args.token_file), args.server_certificate)
    console.progress(0.0, "reading")
    request, sources = request_of(args, results)
    server.require_ready(total_size(request.files))
    sending, computing = part_of(console.progress, 0.0, SENT), part_of(console.progress, SENT, COMPUTED)
    made_folder = args.keep is not None and not args.keep.exists()
    try:
        with console.outputs as outputs:
            received = Received(outputs, console, args.keep, results)
            end = server.run(
                request,
                sources,
                lambda event: computing(float(event["fraction"]), str(event["stage"])),
                lambda fraction: sending(fraction, "sending"),
                received.add,
            )
            kept = received.kept(end.get("kept", {}))
            received.require_all()
            if args.keep is not None:
                make_folder(args.keep)
            outputs.json(sidecar_path(args.output), {**received.provenance, "Server": str(end.get("server"))})
            console.progress(1.0, "written")
    except BaseException:
        if made_folder:
            with suppress(OSError):
                args.keep.rmdir()
        raise
    warnings = [str(warning) for warning in end.get("warnings", [])]
    if not server.encrypted:
        warnings.append(
            "The images and the token went to the server unencrypted; an https:// address would protect them."
        )
    return warnings, kept


class Received:
    """The results of a server, written beside their places until all are there.

    Parameters
    ----------
    outputs
        Of the run.
    console
        Which may cancel it.
    keep
        Folder for the intermediates, None where they are not wanted.
    results
        Where each map goes, by the option that names it.
    """

    def __init__(self, outputs: Outputs, console: Console, keep: Path | None, results: dict[str, Path | None]) -> None:
        self._outputs, self._console, self._keep = outputs, console, keep
        self._missing = {option: path for option, path in results.items() if path is not None}
        self._files: set[str] = set()
        self.provenance: dict[str, Any] = {}
        """What the server says of how the map came about."""

    def add(self, name: str, content: Iterator[bytes]) -> None:
        """Take a file under the name that the server gives it; raises ServerUnavailable for one that was not wanted."""
        from IR2QSMLib.pipeline.preprocessed import files_in

        folder, _, file = name.rpartition("/")
        option = file.partition(".")[0]
        pieces = self._cancellable(content)
        if folder == "keep" and self._keep is not None and file in {path.name for path in files_in(self._keep)}:
            make_folder(self._keep)
            self._files.add(file)
            self._outputs.pieces(self._keep / file, pieces)
        elif name == "output.json":
            self.provenance = json.loads(b"".join(pieces))
        elif not folder and option in self._missing:
            self._outputs.pieces(self._missing.pop(option), pieces)
        else:
            raise ServerUnavailable(
                "The server sent a file that was not asked for; ask another server.", option="server"
            )

    def kept(self, names: dict[str, str]) -> dict[str, str]:
        """Paths of the intermediates by the library's names, of those that came."""
        return {kind: str(self._keep / name) for kind, name in names.items() if self._keep and name in self._files}

    def require_all(self) -> None:
        """Raise ServerUnavailable unless all results came."""
        if self._missing or not self.provenance:
            raise ServerUnavailable("The server ended without all results; try again.", option="server")

    def _cancellable(self, content: Iterator[bytes]) -> Iterator[bytes]:
        for piece in content:
            self._console.require_going_on()
            yield piece


def request_of(args: argparse.Namespace, results: dict[str, Path | None]) -> tuple[RunRequest, list[Source]]:
    """What to ask a server for, and what its files are made of; raises FileUnreadable, ParameterInvalid."""
    from IR2QSMLib.pipeline.inputs import REFERENCES

    options = {name: getattr(args, name) for name in SAFE_OPTIONS if hasattr(args, name)}
    options = {name: value for name, value in options.items() if not (value is None or value is False or value == [])}
    region = options.pop("reference") if args.reference not in REFERENCES else None
    if "imaginary" in options and not args.field.is_dir():
        options.pop("imaginary")  # these are files, which are sent
    inputs = {name: getattr(args, name, None) for name in INPUT_FILES if name not in options} | {
        "reference": region and Path(region)
    }
    files: list[SentFile] = []
    sources: list[Source] = []
    for option, value in inputs.items():
        for index, path in enumerate(value if isinstance(value, list) else [value]):
            for place, source in _parts(option, Path(path)) if path is not None else ():
                size = len(source) if isinstance(source, bytes) else source.stat().st_size
                files.append(SentFile(option, index, place, size))
                sources.append(source)
    suffixes = {
        option: next(s for s in VOLUME_SUFFIXES if path.name.lower().endswith(s))
        for option, path in results.items()
        if path is not None
    }
    request = RunRequest(options, tuple(files), suffixes, args.keep is not None)
    request.check()
    return request, sources


def _parts(option: str, path: Path) -> list[tuple[tuple[str, ...], Source]]:
    """Everything to send of one input: places below its folder on the server, and what they are made of."""
    with errors_naming(option):
        if path.is_dir():
            files = [p for p in sorted(path.rglob("*")) if p.is_file()]
            if not files:
                raise FileUnreadable(f"The folder '{path.name}' is empty; give the folder of a scan.")
        elif path.is_file():
            files = [path]
        else:
            raise FileUnreadable(f"{path.name} does not exist; check the path.")
        top = path.resolve().name or "scan"
        parts: dict[tuple[str, ...], Source] = {}
        for file in files:
            require_self_contained(file, path.is_dir())
            place = (top, *file.relative_to(path).parts) if path.is_dir() else (file.name,)
            parts.setdefault(place, file)
            if option in WITH_SIDECAR and file.name.lower().endswith(VOLUME_SUFFIXES):
                metadata = read_sidecar(file)  # with what it inherits from folders that are not sent
                if metadata:
                    parts[(*place[:-1], f"{image_stem(file)}.json")] = json.dumps(metadata).encode()
            card = file.with_suffix(".json")
            if option == "weights" and card.is_file():  # which has their hash
                parts[(card.name,)] = card
        return list(parts.items())
