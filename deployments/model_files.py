"""The door at which a cluster's replica fetches the files of the one model that it serves.

It lets in whoever bears the service's own key, for as long as this service is wanted, and knows no other credential:
a replica may start anew at any hour, on any node, and holds nothing else of the platform.
"""

from __future__ import annotations

import hmac

from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponseBase, JsonResponse
from django.views.decorators.http import require_safe

from artifacts.api.serve import serve_blob
from artifacts.models import ManifestFile
from deployments.engines.ray import key_of
from deployments.models import DeploymentRevision
from deployments.queries import ENDED


@require_safe
def service_files(request: HttpRequest, service_id: str) -> HttpResponseBase:
    """Path, SHA-256 and size of each file."""
    revision = _revision(request, service_id)
    if revision is None:
        return _nothing()
    files = _files(revision).values_list("path", "blob__sha256", "blob__size")
    return JsonResponse(
        {"files": [dict(zip(("path", "sha256", "size"), file, strict=True)) for file in files]}
    )


@require_safe
def service_file(request: HttpRequest, service_id: str, sha256: str) -> HttpResponseBase:
    """The bytes of one of them."""
    revision = _revision(request, service_id)
    file = None if revision is None else _files(revision).filter(blob__sha256=sha256).first()
    return _nothing() if file is None else serve_blob(request, file.blob, sha256)


def _revision(request: HttpRequest, service_id: str) -> DeploymentRevision | None:
    sent = request.headers.get("X-Serving-Key", "").encode("latin-1", "replace")
    if not hmac.compare_digest(sent, key_of(service_id).encode()):
        return None
    wanted = DeploymentRevision.objects.exclude(state__in=ENDED).select_related("version")
    return wanted.filter(service_id=service_id).first()


def _files(revision: DeploymentRevision) -> QuerySet[ManifestFile]:
    return (
        ManifestFile.objects.filter(manifest=revision.version.manifest_id)
        .select_related("blob")
        .order_by("path")
    )


def _nothing() -> JsonResponse:
    return JsonResponse({"detail": "There is nothing here for this key."}, status=401)
