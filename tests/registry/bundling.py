"""What tests of bundles share: a version worth exporting, and bundles taken apart and packed again."""

from __future__ import annotations

import base64
import io
import zipfile
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from approvals.services import transition_stage
from registry import keys, services
from registry.aliases import set_alias
from registry.bundle_files import canonical
from registry.choices import MetricKind, VersionStatus
from registry.models import ModelVersion, VersionMetric
from tests.factories import Person, make_version, run_jobs

FILES = {
    "model/w.txt": b"1 2 3",
    "model/sub/größe.bin": b"\x89PNG\r\n\x1a\n" + bytes(range(256)),
    "model/empty": b"",
}


def version_with_everything(ann: Person) -> ModelVersion:
    """A Ready version with something of everything."""
    made = make_version(ann, "m", files=FILES, ready=False, accuracy=0.9, loss=float("inf"))
    run_jobs()
    made.refresh_from_db()
    assert made.status == VersionStatus.READY
    where = {"actor": ann.actor, "project": ann.project, "model_name": "m"}
    services.update_model(actor=ann.actor, project=ann.project, name="m", description="Fine.", tags=["nlp"])
    services.update_version(**where, ref=1, description="The first.")
    services.set_version_tag(**where, ref=1, key="k", value="v")
    set_alias(**where, alias="best", version=1)
    transition_stage(**where, ref=1, stage="Staging", note="Looks good.")
    VersionMetric.objects.create(version=made, kind=MetricKind.VALIDATION, key="auc", value=0.5)
    return made


def export(person: Person, name: str = "m", ref: object = 1) -> bytes:
    answer = person.api.get(f"{person.base}/models/{name}/versions/{ref}/bundle")
    assert answer.status_code == 200, answer.json()
    return b"".join(answer.streaming_content)


def send(person: Person, bundle: bytes, query: str = "", **headers: str) -> Any:
    return person.api.post(
        f"{person.base}/bundles{query}", bundle, content_type="application/zip", headers=headers
    )


def entries(bundle: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(bundle)) as opened:
        return {name: opened.read(name) for name in opened.namelist()}


def packed(contents: dict[str, bytes] | list[tuple[str, bytes]], method: int = zipfile.ZIP_STORED) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as opened:
        for name, content in contents.items() if isinstance(contents, dict) else contents:
            opened.writestr(name, content)
    return out.getvalue()


def signed(record: dict[str, Any], contents: dict[str, bytes]) -> bytes:
    """A bundle with this bundle.json, signed by this server."""
    content = canonical(record)
    rest = {name: each for name, each in contents.items() if name.startswith("files/")}
    return packed({"bundle.json": content, "signature.json": canonical(keys.sign(content)), **rest})


def public_text(key: Ed25519PrivateKey) -> str:
    return base64.b64encode(key.public_key().public_bytes_raw()).decode()
