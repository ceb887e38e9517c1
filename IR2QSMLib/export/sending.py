"""Objects to an archive: C-ECHO, then C-STORE of every file, over one association."""

from __future__ import annotations

import re
import socket
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pydicom
from pydicom.errors import InvalidDicomError
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian
from pynetdicom import AE, evt
from pynetdicom.association import Association
from pynetdicom.sop_class import Verification  # type: ignore[attr-defined]

from IR2QSMLib.core.errors import FileUnreadable, ParameterInvalid
from IR2QSMLib.core.progress import Progress, silent
from IR2QSMLib.export.quiet import quiet

CALLING, CALLED = "IR2QSM", "ANY-SCP"
"""Titles of the two application entities where nobody says others."""
SYNTAXES = [ExplicitVRLittleEndian, ImplicitVRLittleEndian]
SECONDS = 30.0
"""In which an archive has to answer."""
MEANINGS = {
    0xA700: "it is out of space",
    0xA900: "the object does not match its class",
    0xC000: "it cannot understand the object",
    0x0122: "it does not take this class of objects",
    0x0124: "this sender is not authorised",
}
"""Meanings of the status of a C-STORE, by its first byte or as it is."""


class ArchiveRefused(ParameterInvalid):
    """An archive cannot be reached, or says no."""


def address_of(text: str) -> tuple[str, int]:
    """Host and port of `HOST:PORT`; raises ParameterInvalid."""
    match = re.fullmatch(r"(?:\[([^\]]+)\]|([^:\s]+)):(\d{1,5})", text)
    if match is None or not 0 < int(match[3]) < 65536:
        raise ParameterInvalid(
            f"The archive is '{text}'; expected HOST:PORT, such as archive.hospital:104.", option="archive"
        )
    return match[1] or match[2], int(match[3])


def send_folder(
    folder: Path,
    archive: str,
    *,
    calling: str = CALLING,
    called: str = CALLED,
    progress: Progress = silent,
) -> dict[str, Any]:
    """Send every DICOM file in a folder to an archive.

    Parameters
    ----------
    folder
        With its subfolders.
    archive
        HOST:PORT.
    calling, called
        Titles of the application entities: of this program, and of the archive.
    progress
        Called with the fraction done and the stage.

    Returns
    -------
    dict
        The number of objects that the archive took, and warnings, for the worker's protocol.

    Raises
    ------
    FileUnreadable
        Without a DICOM file.
    ParameterInvalid
        For an address or a title that cannot be.
    ArchiveRefused
        When the archive cannot be reached, or says no to the connection, to a class of objects or to one of them.
    """
    host, port = address_of(archive)
    for title, option in ((calling, "aet"), (called, "aec")):
        if not re.fullmatch(r"(?=.*\S)[\x20-\x5b\x5d-\x7e]{1,16}", title):
            raise ParameterInvalid(
                f"The title '{title}' of an application entity cannot be; expected 1 to 16 ASCII characters without a "
                "backslash.",
                option=option,
            )
    with quiet():
        files, n_others = _files(folder)
        entity = AE(ae_title=calling)
        entity.connection_timeout = entity.acse_timeout = entity.dimse_timeout = entity.network_timeout = SECONDS
        entity.add_requested_context(Verification)
        for sop_class in sorted({sop_class for _, sop_class in files}):
            entity.add_requested_context(sop_class, SYNTAXES)
        progress(0.0, "connecting")
        sockets: list[socket.socket] = []
        try:
            association = _connect(entity, host, port, archive, called, sockets)
            _echo(association, archive)
            _require_classes(association, {sop_class for _, sop_class in files}, archive)
            warnings = _store(association, files, archive, progress)
        finally:
            for one in entity.active_associations:
                one.release()
            for connection in sockets:  # pynetdicom leaves those open that the archive closed first
                connection.close()
    if n_others:
        warnings.append(f"{n_others} files in the folder are not DICOM and were not sent.")
    return {"sent": len(files), "warnings": warnings}


def _files(folder: Path) -> tuple[list[tuple[Path, str]], int]:
    """The DICOM files in a folder with the UID of their class, and the number of other files."""
    if not folder.is_dir():
        what = "is a file" if folder.exists() else "does not exist"
        raise FileUnreadable(f"'{folder.name}' {what}; give the folder that export wrote.", option="folder")
    files, n_others = [], 0
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        try:
            header = pydicom.dcmread(path, stop_before_pixels=True, specific_tags=["SOPClassUID", "SOPInstanceUID"])
            files.append((path, str(header.SOPClassUID)))
        except (InvalidDicomError, OSError, EOFError, ValueError, AttributeError):
            n_others += 1
    if not files:
        raise FileUnreadable(
            f"'{folder.name}' holds no DICOM file ({n_others} other files); give the folder that export wrote.",
            option="folder",
        )
    return files, n_others


def _connect(entity: AE, host: str, port: int, archive: str, called: str, sockets: list[socket.socket]) -> Association:
    """An association, whose socket is added to the list; raises ArchiveRefused."""
    try:
        socket.create_connection((host, port), SECONDS).close()  # which says why, where pynetdicom does not
    except OSError as error:
        reason = error.strerror or "no answer"
        raise ArchiveRefused(
            f"The archive at {archive} cannot be reached ({reason}); check host and port, and that it runs.",
            option="archive",
        ) from error
    keep_socket: list[Any] = [(evt.EVT_CONN_OPEN, lambda event: sockets.append(event.assoc.dul.socket.socket))]
    for _ in range(2):  # now and then a rejection is lost, when the archive hangs up right after it
        association = entity.associate(host, port, ae_title=called, evt_handlers=keep_socket)
        if association.is_established:
            return association
        if association.is_rejected:
            reason = getattr(association.acceptor.primitive, "reason_str", "") or "no reason"
            raise ArchiveRefused(
                f"The archive at {archive} rejected the connection ({reason}): let its administrator enter this "
                f"program's title '{entity.ae_title}' and address, and check the archive's title '{called}' (--aec) "
                "and --aet.",
                option="archive",
            )
    raise ArchiveRefused(
        f"What listens at {archive} ended the connection; check that the port is that of a DICOM archive.",
        option="archive",
    )


def _echo(association: Association, archive: str) -> None:
    status = association.send_c_echo()
    if not status or status.Status != 0:
        raise ArchiveRefused(
            f"The archive at {archive} did not answer the test call (C-ECHO); check that the port is that of a DICOM "
            "archive.",
            option="archive",
        )


def _require_classes(association: Association, wanted: set[str], archive: str) -> None:
    """Raise ArchiveRefused when the archive does not take a class of objects; nothing was sent then."""
    accepted = {str(context.abstract_syntax) for context in association.accepted_contexts}
    refused = sorted(pydicom.uid.UID(sop_class).name for sop_class in wanted - accepted)
    if refused:
        raise ArchiveRefused(
            f"The archive at {archive} does not take {', '.join(refused)}, and nothing was sent; let its administrator "
            "allow it, or export MR images without a segmentation, which every archive takes.",
            option="archive",
        )


def _store(association: Association, files: Sequence[tuple[Path, str]], archive: str, progress: Progress) -> list[str]:
    """Send the files; returns a warning where the archive changed something, raises ArchiveRefused at the first no."""
    n_changed = 0
    for n, (path, _) in enumerate(files):
        progress(n / len(files), "sending")
        if not association.is_established:
            raise _not_taken(archive, n, len(files), path, "the connection broke")
        status = association.send_c_store(pydicom.dcmread(path))
        code = status.get("Status") if status else None
        if code is None:
            raise _not_taken(archive, n, len(files), path, "no answer")
        if code & 0xF000 == 0xB000:
            n_changed += 1
        elif code != 0:
            kind = code if code in MEANINGS else code & 0xFF00 if code & 0xF000 == 0xA000 else code & 0xF000
            reason = MEANINGS.get(kind, "refused")
            raise _not_taken(archive, n, len(files), path, f"status {code:04X}, {reason}")
    progress(1.0, "sent")
    return [f"The archive took {n_changed} objects with a warning: it may have changed them."] if n_changed else []


def _not_taken(archive: str, n_sent: int, n_all: int, path: Path, reason: str) -> ArchiveRefused:
    return ArchiveRefused(
        f"The archive at {archive} did not take {path.name} ({reason}) after {n_sent} of {n_all} objects; mend that "
        "and send the folder again: what it has already is not stored twice.",
        option="archive",
    )
