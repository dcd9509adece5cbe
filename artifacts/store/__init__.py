"""Where bytes lie: the store that the settings name."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit
from urllib.request import url2pathname

from django.conf import settings

from artifacts.store.base import CHUNK, FULL, SHA256, BlobStore, Draft, Stored, key_of, lost, mismatch
from artifacts.store.local import LocalStore
from artifacts.store.s3 import PART, S3Store

__all__ = [
    "CHUNK",
    "FULL",
    "PART",
    "SHA256",
    "BlobStore",
    "Draft",
    "LocalStore",
    "S3Store",
    "Stored",
    "blob_store",
    "key_of",
    "lost",
    "mismatch",
    "store_at",
]


def blob_store() -> BlobStore:
    """The store that settings.STORAGE_URL names."""
    return store_at(settings.STORAGE_URL)


@lru_cache(maxsize=8)
def store_at(url: str) -> BlobStore:
    """The store at `file:///folder` or `s3://bucket/prefix?endpoint_url=…&region=…`."""
    parts = urlsplit(url)
    if parts.scheme == "file":
        return LocalStore(Path(url2pathname(parts.path)))
    return S3Store(parts.netloc, parts.path.strip("/"), dict(parse_qsl(parts.query)))
