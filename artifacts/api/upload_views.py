"""The REST door for large files that come in parts."""

from __future__ import annotations

import base64

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.api.base import ProjectView
from artifacts import uploads
from artifacts.api.serializers import (
    BlobSerializer,
    PartAddressesSerializer,
    PartNumbersInput,
    PartSerializer,
    UploadInput,
    UploadSerializer,
)
from artifacts.api.views import announced_size
from artifacts.filters import UploadFilter
from common.checks import shorten
from common.errors import Invalid


class UploadsView(ProjectView):
    """The same upload begun again is the one that is there: no answer is kept."""

    answers_kept = False

    @extend_schema(
        operation_id="list_uploads",
        summary="Uploads in parts that are not completed",
        parameters=[OpenApiParameter("sha256", str, description="of these bytes")],
        responses=UploadSerializer(many=True),
    )
    def get(self, request: Request, project: str) -> Response:
        rows = uploads.open_uploads(actor=self.actor, project=self.project)
        rows = rows.select_related("created_by").prefetch_related("parts")
        return self.page(rows, UploadSerializer, filters=UploadFilter)

    @extend_schema(
        operation_id="begin_upload",
        summary="Begin an upload in parts, or go on with the open one of the same bytes",
        request=UploadInput,
        responses=UploadSerializer,
    )
    def post(self, request: Request, project: str) -> Response:
        upload = uploads.begin_upload(actor=self.actor, project=self.project, **self.data(UploadInput))
        return Response(UploadSerializer(upload).data)


class UploadView(ProjectView):
    @extend_schema(operation_id="get_upload", summary="An upload and its parts", responses=UploadSerializer)
    def get(self, request: Request, project: str, upload_id: str) -> Response:
        upload = uploads.get_upload(actor=self.actor, project=self.project, upload_id=upload_id)
        return Response(UploadSerializer(upload).data)

    @extend_schema(
        operation_id="abort_upload", summary="Forget an upload and its parts", responses={204: None}
    )
    def delete(self, request: Request, project: str, upload_id: str) -> Response:
        uploads.abort_upload(actor=self.actor, project=self.project, upload_id=upload_id)
        return Response(status=204)


def content_digest(request: Request) -> str:
    """The sha256 that Content-Digest announces, as hex digits; "" when it announces none.

    Source of the form: RFC 9530, with the byte sequences of RFC 8941.
    """
    header = request.headers.get("Content-Digest", "")
    for item in header.split(","):
        name, _, value = item.strip().partition("=")
        if name.lower() != "sha-256":
            continue
        try:
            digest = base64.b64decode(value.strip(":"), validate=True)
        except ValueError:
            digest = b""
        if len(digest) != 32 or not (value.startswith(":") and value.endswith(":")):
            message = (
                f"Content-Digest is {shorten(header)}; sha-256 must be 32 bytes in base64 between colons."
            )
            raise Invalid.field("Content-Digest", message)
        return digest.hex()
    return ""


class PartView(ProjectView):
    """Takes the body as it comes, as BlobView does."""

    parser_classes = []

    @extend_schema(
        operation_id="put_part",
        summary="Upload one part, in any order, again if need be",
        parameters=[
            OpenApiParameter(
                "Content-Digest",
                str,
                OpenApiParameter.HEADER,
                description="`sha-256=:<base64>:` (RFC 9530): a part that came with other bytes is refused",
            )
        ],
        request={"application/octet-stream": OpenApiTypes.BINARY},
        responses={200: PartSerializer},
    )
    def put(self, request: Request, project: str, upload_id: str, number: int) -> Response:
        size = announced_size(request)
        uploads.put_part(
            actor=self.actor,
            project=self.project,
            upload_id=upload_id,
            number=number,
            stream=request._request,
            size=size,
            sha256=content_digest(request),
        )
        return Response(PartSerializer({"number": number, "size": size}).data)


class PartAddressesView(ProjectView):
    answers_kept = False  # an address is good for a while only

    @extend_schema(
        operation_id="part_addresses",
        summary="Where parts are put straight into the storage, without a token",
        request=PartNumbersInput,
        responses=PartAddressesSerializer,
    )
    def post(self, request: Request, project: str, upload_id: str) -> Response:
        numbers = self.data(PartNumbersInput)["numbers"]
        found = uploads.part_addresses(
            actor=self.actor, project=self.project, upload_id=upload_id, numbers=numbers
        )
        addresses = [{"number": number, "size": size, "url": url} for number, size, url in found]
        return Response({"addresses": addresses})


class CompleteUploadView(ProjectView):
    bodiless = ("POST",)
    answers_kept = False  # the verb itself answers the same again

    @extend_schema(
        operation_id="complete_upload",
        summary="Put the parts together, check their digest and store the file",
        request=None,
        responses=BlobSerializer,
    )
    def post(self, request: Request, project: str, upload_id: str) -> Response:
        blob = uploads.complete_upload(actor=self.actor, project=self.project, upload_id=upload_id)
        return Response(BlobSerializer(blob).data)
