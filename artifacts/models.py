"""Content-addressed files: the bytes once, who may use them per project, and immutable lists of them."""

from __future__ import annotations

from django.db import models
from django.utils import timezone

from accounts.models import Project, User


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

    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="blobs", db_index=False)
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
    manifest = models.ForeignKey(Manifest, on_delete=models.CASCADE, related_name="files", db_index=False)
    path = models.CharField(max_length=1024)
    blob = models.ForeignKey(Blob, on_delete=models.PROTECT, related_name="+")

    class Meta:
        ordering = ("path",)
        constraints = [models.UniqueConstraint(fields=["manifest", "path"], name="path_once_per_manifest")]

    def __str__(self) -> str:
        return self.path


class Upload(models.Model):
    """A large file that comes in parts, in any order and over days, until it is completed or forgotten.

    The bytes lie in a draft named by `public_id`, which a bucket also knows as `storage_id`. `busy_until`: until
    then somebody puts the parts together, unless they say again that they do. `completed_at`: the file is a blob
    now; the row stays for a while, so that who asks again is told so.
    """

    public_id = models.CharField(max_length=40, unique=True)
    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="uploads")
    sha256 = models.CharField(max_length=64)
    size = models.BigIntegerField()
    part_size = models.BigIntegerField()
    storage_id = models.CharField(max_length=1024, blank=True)
    created_by = models.ForeignKey(User, on_delete=models.PROTECT, related_name="+")
    created_at = models.DateTimeField(auto_now_add=True)
    touched_at = models.DateTimeField(default=timezone.now)
    busy_until = models.DateTimeField(null=True)
    completed_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["project", "sha256"],
                condition=models.Q(completed_at=None),
                name="one_open_upload_per_digest",
            )
        ]
        indexes = [models.Index(fields=["touched_at"], name="uploads_by_touch")]

    def __str__(self) -> str:
        return self.public_id

    @property
    def part_count(self) -> int:
        return -(-self.size // self.part_size)

    def length_of(self, number: int) -> int:
        """Bytes of the part with this number, from 1 on: all have `part_size`, the last one has the rest."""
        return min(self.part_size, self.size - (number - 1) * self.part_size)


class UploadPart(models.Model):
    """A part that came whole and is durable; `tag` is the name that a bucket gave it."""

    upload = models.ForeignKey(Upload, on_delete=models.CASCADE, related_name="parts", db_index=False)
    number = models.PositiveIntegerField()
    tag = models.CharField(max_length=200, blank=True)

    class Meta:
        ordering = ("number",)
        constraints = [models.UniqueConstraint(fields=["upload", "number"], name="part_once_per_upload")]

    def __str__(self) -> str:
        return f"{self.upload_id}: {self.number}"
