"""The Ed25519 keys of bundles: this server's own, and those of the servers that it trusts.

`cryptography` is imported where it is used: most processes never sign anything.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import hashlib
import os
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from django.conf import settings

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

ALGORITHM = "ed25519"


@dataclass(frozen=True)
class PublicKey:
    """32 bytes in base64, and the 16 hex digits by which people speak of them."""

    text: str

    @property
    def id(self) -> str:
        return hashlib.sha256(base64.b64decode(self.text)).hexdigest()[:16]

    @property
    def is_trusted(self) -> bool:
        return self.text in settings.BUNDLE_TRUSTED_KEYS or self == own_public_key()


def own_public_key() -> PublicKey:
    """What other servers have to trust to import bundles from here."""
    return PublicKey(base64.b64encode(_own_key().public_key().public_bytes_raw()).decode())


def sign(content: bytes) -> dict[str, str]:
    """This server's signature over exactly these bytes, as it stands in a bundle."""
    key = own_public_key()
    return {
        "algorithm": ALGORITHM,
        "key_id": key.id,
        "public_key": key.text,
        "signature": base64.b64encode(_own_key().sign(content)).decode(),
    }


def signer_of(content: bytes, signature: Any) -> PublicKey | None:
    """Whose key signed these bytes, trusted or not; None where the signature is not over them."""
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    expected = {"algorithm", "key_id", "public_key", "signature"}
    if not isinstance(signature, Mapping) or set(signature) != expected:
        return None
    key, proof = _decoded(signature["public_key"], 32), _decoded(signature["signature"], 64)
    if signature["algorithm"] != ALGORITHM or key is None or proof is None:
        return None
    try:
        Ed25519PublicKey.from_public_bytes(key).verify(proof, content)
    except (InvalidSignature, ValueError):
        return None
    signer = PublicKey(signature["public_key"])
    return signer if signer.id == signature["key_id"] else None


def _decoded(text: object, length: int) -> bytes | None:
    """The bytes that `text` is the one base64 of; else None."""
    try:
        content = base64.b64decode(text, validate=True) if isinstance(text, str) else b""
    except (binascii.Error, ValueError):
        return None
    return content if len(content) == length and base64.b64encode(content).decode() == text else None


def _own_key() -> Ed25519PrivateKey:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    pem = settings.BUNDLE_SIGNING_KEY or _kept_pem(settings.VAR_DIR / "keys" / "bundle.pem")
    key = load_pem_private_key(pem.encode(), password=None)
    assert isinstance(key, Ed25519PrivateKey)
    return key


def _kept_pem(path: Path) -> str:
    """The key kept in the file `path`; made at the first call, readable by its owner only."""
    if not path.exists():
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        draft = path.with_name(f".{uuid.uuid4().hex}")
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(_new_pem())
            file.flush()
            os.fsync(file.fileno())
        # A link appears whole or not at all, and never replaces what another process made first.
        with contextlib.suppress(FileExistsError):
            os.link(draft, path)
        draft.unlink()
    return path.read_text()


def _new_pem() -> str:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    key = Ed25519PrivateKey.generate()
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
