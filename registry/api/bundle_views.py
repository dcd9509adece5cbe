"""The REST door for versions that travel: into another project, and between servers."""

from __future__ import annotations

import errno
import hashlib
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import IO, Any, BinaryIO, cast

from django.conf import settings
from django.http import StreamingHttpResponse
from django.utils.http import content_disposition_header
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.parsers import BaseParser
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.api.base import ApiView, ProjectView
from accounts.choices import Right
from artifacts.api.views import announced_size
from artifacts.errors import BodyIncomplete, StoreFull
from artifacts.services import release_connection
from artifacts.store import CHUNK, FULL
from common.api.text import JsonText
from common.errors import Invalid, TooLarge
from registry import answers, bundles, copies, keys
from registry.api.serializers import VersionSerializer
from registry.api.views import RegistryView
from registry.models import ModelVersion

ZIP = "application/zip"
OCTETS = "application/octet-stream"


class CopyInput(serializers.Serializer):
    to_project = serializers.CharField(max_length=63, help_text="the other project's slug")
    to_model = serializers.CharField(max_length=200, required=False, help_text="else the model's own name")
    description = serializers.CharField(
        required=False, allow_blank=True, max_length=20_000, trim_whitespace=False
    )


class BundleKeySerializer(serializers.Serializer):
    """What another server needs to trust bundles from here."""

    algorithm = serializers.CharField()
    key_id = serializers.CharField(help_text="16 hex digits by which people speak of the key")
    public_key = serializers.CharField(help_text="base64, for BUNDLE_TRUSTED_KEYS of the other server")


def version_response(version: ModelVersion) -> JsonText:
    """201 with the new version as its own address shows it."""
    return JsonText(answers.version_answers(version.model.project, [version.pk])[0], 201)


class CopyView(RegistryView):
    @extend_schema(
        operation_id="copy_version",
        summary="Copy a version into another project, or to another model",
        request=CopyInput,
        responses={201: VersionSerializer},
    )
    def post(self, request: Request, project: str, name: str, ref: str) -> JsonText:
        return version_response(copies.copy_version(**self.where, **self.data(CopyInput)))


class BundleView(RegistryView):
    @extend_schema(
        operation_id="export_version",
        summary="A version as one signed file, to be imported on another server",
        responses={(200, ZIP): OpenApiTypes.BINARY},
    )
    def get(self, request: Request, project: str, name: str, ref: str) -> StreamingHttpResponse:
        bundle = bundles.export_version(**self.where)
        disposition = content_disposition_header(True, bundle.name) or "attachment"
        headers = {
            "Content-Disposition": disposition,
            "Cache-Control": "private, no-store",
            "X-Content-Type-Options": "nosniff",
        }
        return StreamingHttpResponse(bundle.pieces, content_type=ZIP, headers=headers)


@dataclass(frozen=True)
class SentBundle:
    """A body as it lies in a nameless file; its repr says which request it was, for the Idempotency-Key."""

    file: BinaryIO = field(repr=False)
    sha256: str
    query: str


class BundleParser(BaseParser):
    """Takes the body piece by piece into a file that is gone when nobody reads it any more."""

    media_type = ZIP

    def parse(
        self,
        stream: IO[bytes],
        media_type: str | None = None,
        parser_context: Mapping[str, Any] | None = None,
    ) -> Any:
        """A SentBundle."""
        request = (parser_context or {})["request"]
        size = announced_size(request)
        if size > settings.MAX_UPLOAD_BYTES:
            raise TooLarge(
                f"The bundle is larger than {settings.MAX_UPLOAD_BYTES} bytes, the most that this server takes.",
                "Ask an operator to raise MAX_UPLOAD_BYTES.",
            )
        release_connection()
        file, sha256 = _kept(stream, size)
        return SentBundle(file, sha256, request.META.get("QUERY_STRING", ""))


class OctetsParser(BundleParser):
    media_type = OCTETS


def _kept(stream: IO[bytes], size: int) -> tuple[BinaryIO, str]:
    folder = settings.VAR_DIR / "incoming"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 -- lives as long as the request
    digest, left = hashlib.sha256(), size
    while left and (piece := stream.read(min(CHUNK, left))):
        digest.update(piece)
        _write(file, piece)
        left -= len(piece)
    if left:
        raise BodyIncomplete(
            f"The body ended after {size - left} bytes; {size} bytes had been announced.", "Send it again."
        )
    return cast(BinaryIO, file), digest.hexdigest()


def _write(file: IO[bytes], piece: bytes) -> None:
    try:
        file.write(piece)
    except OSError as error:
        if error.errno in (*FULL, errno.EFBIG):
            raise StoreFull("The storage is full.", "Ask an operator for more room.") from error
        raise


class BundlesView(ProjectView):
    """Takes bundles in. The body is read and its files stored before the transaction of the POST begins."""

    right = Right.WRITE
    parser_classes = [BundleParser, OctetsParser]
    takes = {"POST": ("model",)}

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        super().initial(request, *args, **kwargs)
        if request.method == "POST":
            self.unpacked = bundles.unpack_bundle(
                actor=self.actor, project=self.project, file=self._sent(request).file
            )

    def _sent(self, request: Request) -> SentBundle:
        if not isinstance(request.data, SentBundle):
            raise Invalid.field("bundle", "The body is empty.", "Send the bundle as the request's body.")
        return request.data

    @extend_schema(
        operation_id="import_version",
        summary="The version in a bundle as the next one of its model here",
        parameters=[OpenApiParameter("model", str, description="another name for the model")],
        request={ZIP: OpenApiTypes.BINARY, OCTETS: OpenApiTypes.BINARY},
        responses={201: VersionSerializer},
    )
    def post(self, request: Request, project: str) -> JsonText:
        version = bundles.create_imported(
            actor=self.actor,
            project=self.project,
            unpacked=self.unpacked,
            model_name=request.query_params.get("model"),
        )
        return version_response(version)


class BundleKeyView(ApiView):
    @extend_schema(
        operation_id="get_bundle_key",
        summary="The public key that this server's bundles are signed with",
        responses=BundleKeySerializer,
    )
    def get(self, request: Request) -> Response:
        key = keys.own_public_key()
        shown = {"algorithm": keys.ALGORITHM, "key_id": key.id, "public_key": key.text}
        return Response(BundleKeySerializer(shown).data)
