"""Calls that take versions elsewhere: into another project, and as one file to another server."""

from __future__ import annotations

import copy
import hashlib
import json
import os
import uuid
import zipfile
import zlib
from contextlib import closing
from pathlib import Path
from typing import BinaryIO

import requests

from podstack.calls import given
from podstack.config import API_PREFIX
from podstack.errors import DigestMismatch, ValidationError
from podstack.files import PIECE, FilePieces, HashedFile, open_file
from podstack.http import Body, Http
from podstack.models import BundleKey, ModelVersion
from podstack.registry import RegistryCalls, _warn_unless_ready

ZIP = "application/zip"
TRIES = 5
LONGEST_ANSWER = 3600.0  # the server checks and stores all files before it answers
UNREADABLE = (
    zipfile.BadZipFile,
    zlib.error,
    EOFError,
    OSError,
    ValueError,
    KeyError,
    TypeError,
    RuntimeError,
)


class BundleCalls(RegistryCalls):
    """A bundle is a ZIP file of one version: files, metadata, history, and the server's signature over all."""

    def copy_model_version(
        self,
        model_name: str,
        version: int | str,
        to_project: str,
        to_model: str | None = None,
        description: str | None = None,
    ) -> ModelVersion:
        """The version as the next one of `to_model` (else of the same name) in `to_project`.

        Files, metrics, parameters and annotations come along; stage, aliases and history do not. The answer's
        `origin` says where it is from. ConflictError while the version is not Ready.
        """
        body = given(to_project=to_project, to_model=to_model, description=description)
        path = self._version_path(model_name, version, "copy")
        return ModelVersion.from_json(self.http.call("POST", path, json=body))

    def export_model_version(self, model_name: str, version: int | str, path: str | os.PathLike[str]) -> Path:
        """Writes a Ready version to the bundle `path`, whole and checked or not at all; returns that."""
        target = Path(path)
        if target.is_dir():
            raise ValidationError(f"{target} is a folder.", hint="Name the file that the bundle becomes.")
        target.parent.mkdir(parents=True, exist_ok=True)
        draft = target.parent / f".podstack-{uuid.uuid4().hex}"
        try:
            with draft.open("xb") as file:
                _receive(self.http, API_PREFIX + self._version_path(model_name, version, "bundle"), file)
            _check(draft)
            draft.replace(target)
        finally:
            draft.unlink(missing_ok=True)
        return target

    def import_model_version(
        self,
        path: str | os.PathLike[str],
        model_name: str | None = None,
        wait: bool = True,
        timeout: float = 120,
    ) -> ModelVersion:
        """The version in the bundle `path` as the next one of its model here, or of `model_name`.

        ConflictError with the code "signer_unknown" where the server does not trust the key that signed it.
        With `wait`, returns once the server has looked at the files, as create_model_version does.
        """
        source = Path(path)
        with closing(open_file(source)) as file:
            size = file.seek(0, os.SEEK_END)

            def body() -> FilePieces:
                file.seek(0)
                return FilePieces(file, HashedFile(source, source.name, "", size))

            response = _patient(self.http).send(
                "POST",
                API_PREFIX + self.path("bundles"),
                params=[] if model_name is None else [("model", model_name)],
                body=Body(body, ZIP),
                headers={"Idempotency-Key": uuid.uuid4().hex},
            )
        version = ModelVersion.from_json(self.http.parse(response))
        if wait:
            version = self._wait_for_version(version, timeout)
            _warn_unless_ready(version, timeout)
        return version

    def get_bundle_key(self) -> BundleKey:
        """The public key that this server signs with: what BUNDLE_TRUSTED_KEYS of another needs."""
        return BundleKey.from_json(self.http.call("GET", "/bundle-key"))


def _patient(http: Http) -> Http:
    """The same door, which waits longer for an answer."""
    patient = copy.copy(http)
    patient.timeout = (http.timeout[0], LONGEST_ANSWER)
    return patient


def _receive(http: Http, path: str, file: BinaryIO) -> None:
    """Fills `file`; a bundle is made anew for each request, so a broken one starts again."""
    for attempt in range(1, TRIES + 1):
        file.seek(0)
        file.truncate()
        headers = {"Accept": "*/*", "Accept-Encoding": "identity"}
        try:
            with closing(http.send("GET", path, headers=headers, stream=True)) as response:
                for piece in response.iter_content(PIECE):
                    file.write(piece)
            return
        except requests.exceptions.RequestException as error:
            if attempt == TRIES:
                raise http.connection_failed(error) from error


def _check(path: Path) -> None:
    """DigestMismatch unless each file in the bundle has the sha256 that its bundle.json says."""
    try:
        with zipfile.ZipFile(path) as bundle:
            listed = json.loads(bundle.read("bundle.json"))["manifest"]["files"]
            wrong = [file["path"] for file in listed if _sha256(bundle, file["path"]) != file["sha256"]]
    except UNREADABLE as error:
        raise DigestMismatch("The bundle did not arrive whole.", hint="Export it again.") from error
    if wrong:
        raise DigestMismatch(
            f"{wrong[0]} did not arrive with the sha256 that it is stored under.", hint="Export it again."
        )


def _sha256(bundle: zipfile.ZipFile, path: str) -> str:
    digest = hashlib.sha256()
    with bundle.open(f"files/{path}") as file:
        while piece := file.read(PIECE):
            digest.update(piece)
    return digest.hexdigest()
