"""The REST door for bytes."""

from __future__ import annotations

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.api.base import ProjectView
from artifacts import frames, services, uploads
from artifacts.api.serializers import BlobSerializer, DigestsInput, MissingSerializer, StoredSerializer
from common.errors import DomainError


class MissingBlobsView(ProjectView):
    @extend_schema(
        operation_id="missing_blobs",
        summary="Which of these digests have to be uploaded",
        request=DigestsInput,
        responses=MissingSerializer,
    )
    def post(self, request: Request, project: str) -> Response:
        digests = self.data(DigestsInput)["sha256"]
        missing = services.missing_blobs(actor=self.actor, project=self.project, digests=digests)
        return Response({"missing": missing, "direct": uploads.sends_direct()})


class BlobView(ProjectView):
    """Takes the body as it comes, piece by piece: nothing here may read `request.data` or `request.body`."""

    parser_classes = []

    @extend_schema(
        operation_id="store_blob",
        summary="Upload bytes under their SHA-256",
        description="What came of a large body that broke off may be kept as an open upload in parts.",
        request={"application/octet-stream": OpenApiTypes.BINARY},
        responses={200: BlobSerializer},
    )
    def put(self, request: Request, project: str, sha256: str) -> Response:
        size = announced_size(request)
        stream = request._request
        blob = uploads.store_large_blob(
            actor=self.actor, project=self.project, sha256=sha256, stream=stream, size=size
        )
        return Response(BlobSerializer(blob).data)


class BlobBatchView(ProjectView):
    """Takes the body as it comes, as BlobView does. The same batch again changes nothing: no answer is kept."""

    parser_classes = []
    answers_kept = False

    @extend_schema(
        operation_id="store_blobs",
        summary="Upload many small files at once",
        description=frames.__doc__,
        request={"application/octet-stream": OpenApiTypes.BINARY},
        responses={200: StoredSerializer},
    )
    def post(self, request: Request, project: str) -> Response:
        size = announced_size(request)
        blobs = services.store_blobs(
            actor=self.actor, project=self.project, stream=request._request, size=size
        )
        return Response(StoredSerializer({"stored": len(blobs)}).data)


def announced_size(request: Request) -> int:
    """Content-Length in bytes: without it, a body that was cut short could not be told from a whole one."""
    text = request.META.get("CONTENT_LENGTH") or ""
    if not (text.isascii() and text.isdigit() and len(text) < 20):
        error = DomainError(
            "The request does not say how long its body is.", "Send Content-Length.", code="length_required"
        )
        error.status, error.title = 411, "Length required"
        raise error
    return int(text)
