"""Where bytes lie: the store that the settings name."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit
from urllib.request import url2pathname

from django.conf import settings

from artifacts.store.azure import AzureStore
from artifacts.store.base import (
    CHUNK,
    FULL,
    SHA256,
    BlobStore,
    DirectStore,
    Draft,
    Stored,
    key_of,
    lost,
    mismatch,
)
from artifacts.store.local import LocalStore
from artifacts.store.s3 import GOOGLE, PART, S3Store

__all__ = [
    "CHUNK",
    "FULL",
    "PART",
    "SHA256",
    "AzureStore",
    "BlobStore",
    "DirectStore",
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
    """The store at `file:///folder`, `s3://bucket/prefix?endpoint_url=…&region=…`, `gs://bucket/prefix` (Google's,
    through the interface that it shares with S3) or `azure://container/prefix`.
    """
    parts = urlsplit(url)
    prefix = parts.path.strip("/")
    if parts.scheme == "file":
        return LocalStore(Path(url2pathname(parts.path)))
    if parts.scheme == "azure":
        return AzureStore(parts.netloc, prefix, settings.AZURE_STORAGE_CONNECTION_STRING)
    if parts.scheme == "gs":
        return S3Store(parts.netloc, prefix, {"endpoint_url": GOOGLE, "region": "auto"})
    return S3Store(parts.netloc, prefix, dict(parse_qsl(parts.query)))
