"""`ir2qsm serve`: reconstruct for other computers, one run at a time."""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from IR2QSMLib.cli.commands import Answer, Command
from IR2QSMLib.core.errors import ParameterInvalid

if TYPE_CHECKING:
    from IR2QSMLib.cli.console import Console


def _add_options(p: argparse.ArgumentParser) -> None:
    p.add_argument("--host", default="127.0.0.1", help="address to listen at (default: only this computer reaches it)")
    p.add_argument("--port", type=int, default=8765, metavar="N", help="port (default: 8765; 0: any free one)")
    p.add_argument(
        "--token-file",
        type=Path,
        metavar="FILE",
        help="token that clients must show, made if there is no such file (default: IR2QSM_TOKEN is it)",
    )
    p.add_argument("--certificate", type=Path, metavar="FILE", help="certificate for https, as PEM")
    p.add_argument("--key", type=Path, metavar="FILE", help="key of the certificate, as PEM")
    p.add_argument("--insecure", action="store_true", help="let other computers connect without encryption")
    p.add_argument(
        "--max-upload", type=float, default=4.0, metavar="GB", help="largest size of a run's files together [GB] (4)"
    )
    p.add_argument("--queue", type=int, default=4, metavar="N", help="runs that may wait while one computes (4)")
    p.add_argument("--time-limit", type=float, default=120.0, metavar="MIN", help="longest computation [min] (120)")
    p.add_argument("--folder", type=Path, metavar="FOLDER", help="for the temporary files of runs (default: system's)")


def _run(args: argparse.Namespace, console: Console) -> Answer:
    from IR2QSMLib.core.version import __version__
    from IR2QSMLib.server.application import Application, Limits
    from IR2QSMLib.server.folders import ServerFolder
    from IR2QSMLib.server.listen import open_socket, require_certificate, serve
    from IR2QSMLib.server.tokens import make_token_file, read_token

    for name, highest in (("port", 65535), ("max_upload", 1e6), ("queue", 1000), ("time_limit", 1e6)):
        value = getattr(args, name)
        if not 0 <= value <= highest:
            flag = f"--{name.replace('_', '-')}"
            raise ParameterInvalid(f"{flag} is {value:g}; expected a number from 0 to {highest:g}.", option=name)
    if (args.key is None) != (args.certificate is None):
        raise ParameterInvalid("A certificate goes with its key; give --certificate and --key.", option="certificate")
    tls = args.certificate is not None
    if tls:
        require_certificate(args.certificate, args.key)
    if args.token_file is not None and make_token_file(args.token_file):
        console.say(f"A new token is in {args.token_file}; copy the file to the computers that may use this server.")
    limits = Limits(int(args.max_upload * 1e9), args.queue, 60.0 * args.time_limit)
    token = read_token(args.token_file)
    listener = open_socket(args.host, args.port, tls, args.insecure)
    with listener:
        folder = ServerFolder(args.folder or Path(tempfile.gettempdir()))
        try:
            host = f"[{args.host}]" if ":" in args.host else args.host
            address = f"{'https' if tls else 'http'}://{host}:{listener.getsockname()[1]}"
            console.say(f"IR2QSM {__version__} serves at {address}; stop it with Ctrl-C.")
            application = Application(token, folder, limits, args.device, console.say)
            serve(application, listener, args.certificate, args.key, console.require_going_on)
        finally:
            folder.close()
    return None


COMMAND = Command(
    "serve", "reconstruct for other computers, such as those with Slicer", _add_options, _run, device=True
)
