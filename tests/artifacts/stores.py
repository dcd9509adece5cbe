"""What tests of stores share: drafts, and what a test does to a store past its own verbs."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

from artifacts.store import AzureStore, BlobStore, Draft, LocalStore, S3Store, key_of

NOWHERE = "s3://blobs/p?endpoint_url=http://127.0.0.1:1&region=us-east-1"
KEYS = {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret"}


def sha(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def pieces(content: bytes, size: int = 1 << 20) -> Iterator[bytes]:
    for start in range(0, len(content), size):
        yield content[start : start + size]


def begun(store: BlobStore, content: bytes, name: str = "up-0123456789ab") -> tuple[Draft, list[bytes]]:
    """A draft of parts of 5 MiB, and the parts."""
    size = 5 << 20
    return Draft(name, store.begin(name), len(content), size), list(pieces(content, size))


def put_parts(store: BlobStore, draft: Draft, parts: list[bytes]) -> list[str]:
    """All of them, the last one first; their tags in order."""
    last_first = [(number, parts[number - 1]) for number in range(len(parts), 0, -1)]
    return [store.put_part(draft, number, pieces(part)) for number, part in last_first][::-1]


def leftovers(store: BlobStore) -> list[str]:
    """Drafts and unfinished uploads."""
    if isinstance(store, LocalStore):
        return [path.name for path in store.incoming.iterdir()]
    if isinstance(store, AzureStore):
        return [each.name for each in store.unfinished()]
    assert isinstance(store, S3Store)
    answer = store.client.list_multipart_uploads(Bucket=store.bucket)
    return [upload["Key"] for upload in answer.get("Uploads", [])]


def leave(store: BlobStore, name: str, content: bytes) -> None:
    """Puts a file there that no upload has made."""
    if isinstance(store, LocalStore):
        path = store.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    elif isinstance(store, AzureStore):
        store._blob(name).upload_blob(content, overwrite=True)
    else:
        assert isinstance(store, S3Store)
        store.client.put_object(Bucket=store.bucket, Key=store.prefix + name, Body=content)


def damage(store: BlobStore, sha256: str) -> None:
    if isinstance(store, LocalStore):
        path = store.root / key_of(sha256)
        path.chmod(0o600)
        path.write_bytes(b"damaged")
    elif isinstance(store, AzureStore):
        store._blob(key_of(sha256)).upload_blob(b"damaged", overwrite=True)
    else:
        assert isinstance(store, S3Store)
        store.client.put_object(Bucket=store.bucket, Key=store.prefix + key_of(sha256), Body=b"damaged")
