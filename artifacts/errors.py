"""Refusals that only files know."""

from __future__ import annotations

from common.errors import Conflict, DomainError, Invalid


class DigestMismatch(Invalid):
    """Other bytes came than the digest says: 400."""

    default_code = "digest_mismatch"


class BodyIncomplete(Invalid):
    """Fewer bytes came than were announced: 400. `kept`: how many of them lie in the draft that was asked for."""

    default_code = "body_incomplete"
    kept = 0


class DraftLost(Conflict):
    """The store lacks what came of an upload, or takes nothing more for it: 409."""

    default_code = "upload_lost"


class BytesLost(DomainError):
    """The store lacks, or has changed, bytes that the database knows: 500, for an operator to repair."""

    status = 500
    title = "Stored file lost"
    default_code = "bytes_lost"


class StoreFull(DomainError):
    """No room for more bytes: 507."""

    status = 507
    title = "Storage full"
    default_code = "storage_full"
