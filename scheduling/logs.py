"""What training programs wrote: from the engine while they run, from the store afterwards."""

from __future__ import annotations

from dataclasses import dataclass

from artifacts.services import open_blob
from scheduling.choices import OPEN_STATES
from scheduling.engines import engine_for
from scheduling.engines.base import EngineAway
from scheduling.models import ScheduleExecution

AT_ONCE = 256 << 10


@dataclass(frozen=True)
class LogPiece:
    """Text from one offset in bytes to the next; with `ended`, nothing more will come."""

    text: str
    next_offset: int
    ended: bool


def read_log(execution: ScheduleExecution, offset: int = 0) -> LogPiece:
    """Up to 256 KiB from `offset` on, no letter cut in two."""
    if execution.log is None:
        try:
            content = engine_for(execution.engine).log(execution.public_id, offset, AT_ONCE)
        except EngineAway:
            return LogPiece("", offset, False)
    else:
        blob = execution.log.files.select_related("blob").get().blob
        if offset >= blob.size:
            content = b""
        else:
            with open_blob(blob, offset) as file:
                content = file.read(AT_ONCE)
    whole = _whole_letters(content)
    over = execution.state not in OPEN_STATES and len(content) < AT_ONCE
    return LogPiece(whole.decode("utf-8", "replace").replace("\0", "\ufffd"), offset + len(whole), over)


def _whole_letters(content: bytes) -> bytes:
    """Without the beginning of a letter that goes on in the next piece."""
    for cut in range(1, min(4, len(content)) + 1):
        byte = content[-cut]
        if byte & 0xC0 == 0xC0:
            length = 2 if byte < 0xE0 else 3 if byte < 0xF0 else 4
            return content[:-cut] if cut < length else content
        if byte & 0x80 == 0:
            break
    return content


def read_tail(execution: ScheduleExecution) -> tuple[str, bool]:
    """The last 256 KiB of a log, and whether there is more before them."""
    kept = execution.log
    try:
        size = engine_for(execution.engine).log_size(execution.public_id) if kept is None else kept.total_size
    except EngineAway as error:
        return str(error), False
    piece = read_log(execution, max(0, size - AT_ONCE))
    return piece.text, size > AT_ONCE
