"""Verbs that take a version from one server to another: as one signed file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, BinaryIO

from django.db import transaction
from django.utils import timezone

from accounts.audit import record
from accounts.choices import Right
from accounts.models import Project
from accounts.permissions import Actor, require
from artifacts.errors import BodyIncomplete, DigestMismatch
from artifacts.models import Blob, ManifestFile
from artifacts.services import make_manifest, manifest_digest, open_blob, release_connection, store_blob
from common.errors import Conflict, TooLarge
from registry import keys
from registry.bundle_files import (
    BUNDLE,
    FILES,
    MAX_BUNDLE_BYTES,
    MAX_SIGNATURE_BYTES,
    MOST_FILES,
    SIGNATURE,
    Part,
    ReadBundle,
    canonical,
    damaged,
    part_of,
    strict_json,
    written,
)
from registry.bundle_records import Listed, Record, described, read_record
from registry.copies import refuse_unready
from registry.elsewhere import Content, add_version, check_model_name
from registry.models import ModelVersion
from registry.queries import find_model, find_version
from registry.services import version_label


@dataclass(frozen=True)
class Export:
    """A bundle on its way out: what to call it, and its bytes in pieces."""

    name: str
    pieces: Iterator[bytes]


def export_version(*, actor: Actor, project: Project, model_name: str, ref: str | int) -> Export:
    """A Ready version with all that is known of it, signed by this server."""
    require(actor, project, Right.READ)
    version = find_version(find_model(project, model_name), ref)
    refuse_unready(version)
    files = list(version.manifest.files.select_related("blob").order_by("path"))
    content = canonical(described(actor, version, files))
    if len(content) > MAX_BUNDLE_BYTES or len(files) > MOST_FILES:
        raise TooLarge(
            f"Version {version.number} has more than a bundle can hold: {MOST_FILES} files.",
            "Download its files instead.",
        )
    signature = canonical(keys.sign(content))
    record(actor, "export_version", "version", version_label(version), project=project)
    release_connection()
    parts = [part_of(BUNDLE, content), part_of(SIGNATURE, signature), *map(_part, files)]
    return Export(f"{version.model.name}-v{version.number}.zip", written(parts))


def _part(file: ManifestFile) -> Part:
    blob = file.blob
    return Part(FILES + file.path, blob.size, blob.sha256, partial(open_blob, blob))


@dataclass(frozen=True)
class Unpacked:
    """A bundle whose signature was checked and whose files are stored: path -> blob."""

    record: Record
    signer: keys.PublicKey
    files: Mapping[str, Blob]


def import_bundle(
    *, actor: Actor, project: Project, file: BinaryIO, model_name: str | None = None
) -> ModelVersion:
    """The version in the bundle `file` as the next one of its model here, or of `model_name`."""
    unpacked = unpack_bundle(actor=actor, project=project, file=file)
    return create_imported(actor=actor, project=project, unpacked=unpacked, model_name=model_name)


def unpack_bundle(*, actor: Actor, project: Project, file: BinaryIO) -> Unpacked:
    """Checks every byte and stores the files; slow, so not in a transaction. Nothing refers to them yet.

    Invalid naming the file in the bundle that is damaged; Conflict (`signer_unknown`) for a key not trusted.
    """
    require(actor, project, Right.WRITE)
    bundle = ReadBundle(file)
    content = bundle.content(BUNDLE, MAX_BUNDLE_BYTES)
    signer = _trusted_signer(content, bundle.content(SIGNATURE, MAX_SIGNATURE_BYTES))
    found = read_record(strict_json(BUNDLE, content))
    _check_files(bundle, found)
    files = {each.path: _stored(actor, project, bundle, each) for each in found.files}
    if manifest_digest(files) != found.manifest_digest:
        raise damaged(BUNDLE, "lists other files than its manifest's digest says")
    return Unpacked(found, signer, files)


def _trusted_signer(content: bytes, signature: bytes) -> keys.PublicKey:
    signer = keys.signer_of(content, strict_json(SIGNATURE, signature))
    if signer is None:
        raise damaged(BUNDLE, f"is not what {SIGNATURE} was made for")
    if not signer.is_trusted:
        raise Conflict(
            f"The bundle is signed by the key {signer.id}, which this server does not trust.",
            f"If you know whose it is, ask an operator to add {signer.text} to BUNDLE_TRUSTED_KEYS.",
            code="signer_unknown",
            items=[f"public key {signer.text}"],
        )
    return signer


def _check_files(bundle: ReadBundle, found: Record) -> None:
    """The same files in the list and in the bundle, each of the size that the list says."""
    listed = {each.path for each in found.files}
    for path in sorted(bundle.file_names() - listed):
        raise damaged(FILES + path, f"is not listed in {BUNDLE}")
    for each in found.files:
        if bundle.size(FILES + each.path) != each.size:
            raise damaged(FILES + each.path, f"has not the {each.size} bytes that {BUNDLE} says")


def _stored(actor: Actor, project: Project, bundle: ReadBundle, file: Listed) -> Blob:
    name = FILES + file.path
    source = bundle.open(name)
    try:
        return store_blob(actor=actor, project=project, sha256=file.sha256, stream=source, size=file.size)
    except (DigestMismatch, BodyIncomplete) as error:
        raise damaged(name, f"has not the SHA-256 that {BUNDLE} says") from error
    finally:
        source.close()


def create_imported(
    *, actor: Actor, project: Project, unpacked: Unpacked, model_name: str | None = None
) -> ModelVersion:
    """The next version out of an unpacked bundle: no stage, no aliases, to be looked at as any new version."""
    require(actor, project, Right.WRITE)
    found = unpacked.record
    name = check_model_name("model", found.model_name if model_name is None else model_name)
    with transaction.atomic():
        content = Content(
            manifest=make_manifest(unpacked.files),
            description=found.description,
            artifact_path=found.artifact_path,
            metrics=found.metrics,
            params=found.params,
            annotations=found.annotations,
            model_description=found.model_description,
            model_tags=found.model_tags,
        )
        version = add_version(actor, project, name, content, _origin(actor, unpacked))
        record(
            actor,
            "import_version",
            "version",
            version_label(version),
            project=project,
            after={
                "server": found.server,
                "from": f"{found.project}/{found.model_name}/{found.number}",
                "manifest": content.manifest.digest,
                "signer": unpacked.signer.id,
            },
        )
    return version


def _origin(actor: Actor, unpacked: Unpacked) -> dict[str, Any]:
    """What the other server said of the version; its history stays there and is never mixed into ours."""
    found = unpacked.record
    return {
        "kind": "import",
        "server": found.server,
        "project": found.project,
        "model": found.model_name,
        "version": found.number,
        "manifest_digest": found.manifest_digest,
        "signer": unpacked.signer.id,
        "imported_at": timezone.now().isoformat(),
        "imported_by": actor.user.username,
        **found.about,
    }
