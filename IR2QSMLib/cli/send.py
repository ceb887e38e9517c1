"""`ir2qsm send`: DICOM objects to an archive."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from IR2QSMLib.cli.commands import Answer, Command
from IR2QSMLib.core.errors import PackageMissing

if TYPE_CHECKING:
    from IR2QSMLib.cli.console import Console


def _add_options(p: argparse.ArgumentParser) -> None:
    p.add_argument("folder", type=Path, help="DICOM files, as export writes them")
    p.add_argument("archive", metavar="HOST:PORT", help="where the archive listens")
    p.add_argument("--aet", default="IR2QSM", metavar="TITLE", help="application entity title of this program (IR2QSM)")
    p.add_argument("--aec", default="ANY-SCP", metavar="TITLE", help="title of the archive that is called (ANY-SCP)")


def _run(args: argparse.Namespace, console: Console) -> Answer:
    try:
        from IR2QSMLib.export.sending import send_folder
    except ModuleNotFoundError as error:
        if error.name != "pynetdicom":
            raise
        raise PackageMissing("Sending needs pynetdicom; install it with: pip install 'ir2qsm[dicom]'.") from error

    answer = send_folder(args.folder, args.archive, calling=args.aet, called=args.aec, progress=console.progress)
    console.say(f"{answer['sent']} objects are in the archive.")
    return answer


COMMAND = Command("send", "send DICOM objects to an archive: C-ECHO, then C-STORE", _add_options, _run)
