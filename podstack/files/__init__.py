"""Files to and from the server: hashed once, sent once, checked on both sides, with flat memory."""

from podstack.files.choosing import chosen
from podstack.files.digests import PIECE, sha256_of
from podstack.files.fetching import download
from podstack.files.local import (
    HashedFile,
    LocalFile,
    as_path,
    check_path,
    files_below,
    files_to_log,
    open_file,
)
from podstack.files.pieces import FilePieces
from podstack.files.sending import upload, upload_bytes

__all__ = [
    "PIECE",
    "FilePieces",
    "HashedFile",
    "LocalFile",
    "as_path",
    "check_path",
    "chosen",
    "download",
    "files_below",
    "files_to_log",
    "open_file",
    "sha256_of",
    "upload",
    "upload_bytes",
]
