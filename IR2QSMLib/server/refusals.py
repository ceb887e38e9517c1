"""Why a server takes no run, in the words of both ends."""

from __future__ import annotations

from IR2QSMLib.core.errors import ServerUnavailable


def version_sentence(server: str, client: str) -> str:
    """What to do about two versions."""
    return f"The server runs IR2QSM {server} and this computer {client or 'none'}; install the same version on both."


def queue_full() -> ServerUnavailable:
    """The error for a queue that takes no further run."""
    return ServerUnavailable("The server's queue is full; try again later.", option="server")


def too_large(size: int, limit: int) -> ServerUnavailable:
    """The error for files that are together larger than a server accepts."""
    return ServerUnavailable(
        f"The files have {size / 1e6:,.0f} MB together and the server accepts {limit / 1e6:,.0f} MB; crop them, or "
        "start the server with a larger --max-upload.",
        option="server",
    )


def too_slow() -> ServerUnavailable:
    """The error for files that stop coming, or come for too long."""
    return ServerUnavailable(
        "The files did not come in time; send them again, or start the server with a longer --time-limit.",
        option="server",
    )
