"""Content-addressed files: the bytes once, who may use them per project, and immutable lists of them."""

from __future__ import annotations

from django.db import models
from django.utils import timezone

from accounts.models import Project


class Blob(models.Model):
    """Bytes in object storage, named by their SHA-256 (64 lower-case hex digits).

    `seen_at`: when they were last stored, or last said to be here, give or take an hour. Who was told so may
    still refer to them, so the collector leaves them alone for a while.
    """

    sha256 = models.CharField(max_length=64, unique=True)
    size = models.BigIntegerField()
    created_at = models.DateTimeField(auto_now_add=True)
    seen_at = models.DateTimeField(default=timezone.now)

    def __str__(self) -> str:
        return self.sha256


class ProjectBlob(models.Model):
    """A project proved that it has these bytes by uploading them; knowing a digest alone gives nothing.

    Having bytes is not using them: the row goes with the blob, and keeps nothing (see artifacts/collect.py).
    """

    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="blobs")
    blob = models.ForeignKey(Blob, on_delete=models.CASCADE, related_name="holders")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["project", "blob"], name="blob_once_per_project")]

    def __str__(self) -> str:
        return f"{self.project_id}: {self.blob_id}"


class Manifest(models.Model):
    """An immutable list path -> blob. `digest` is the SHA-256 over its sorted lines `<sha256> <size> <path>`."""

    digest = models.CharField(max_length=64, unique=True)
    file_count = models.PositiveIntegerField()
    total_size = models.BigIntegerField()
    created_at = models.DateTimeField(auto_now_add=True)

    def __str__(self) -> str:
        return self.digest


class ManifestFile(models.Model):
    manifest = models.ForeignKey(Manifest, on_delete=models.CASCADE, related_name="files")
    path = models.CharField(max_length=1024)
    blob = models.ForeignKey(Blob, on_delete=models.PROTECT, related_name="+")

    class Meta:
        ordering = ("path",)
        constraints = [models.UniqueConstraint(fields=["manifest", "path"], name="path_once_per_manifest")]

    def __str__(self) -> str:
        return self.path
