"""The operators' door to stored files: everything is seen, nothing is edited."""

from __future__ import annotations

from django.contrib import admin

from artifacts.models import Blob, Manifest, ManifestFile, ProjectBlob, Upload
from common.admin import ReadOnlyAdmin


@admin.register(Blob)
class BlobAdmin(ReadOnlyAdmin):
    list_display = ("sha256", "size", "created_at")
    list_filter = ("created_at",)
    search_fields = ("sha256",)
    ordering = ("-id",)


@admin.register(ProjectBlob)
class ProjectBlobAdmin(ReadOnlyAdmin):
    list_display = ("project", "blob", "created_at")
    list_filter = ("project", "created_at")
    search_fields = ("blob__sha256",)
    list_select_related = ("project", "blob")
    ordering = ("-id",)


@admin.register(Manifest)
class ManifestAdmin(ReadOnlyAdmin):
    list_display = ("digest", "file_count", "total_size", "created_at")
    list_filter = ("created_at",)
    search_fields = ("digest",)
    ordering = ("-id",)


@admin.register(ManifestFile)
class ManifestFileAdmin(ReadOnlyAdmin):
    list_display = ("path", "manifest", "blob")
    list_filter = ("manifest__created_at",)
    search_fields = ("path", "manifest__digest", "blob__sha256")
    list_select_related = ("manifest", "blob")
    ordering = ("-id",)


@admin.register(Upload)
class UploadAdmin(ReadOnlyAdmin):
    list_display = ("public_id", "project", "size", "created_by", "touched_at", "completed_at")
    list_filter = ("project", "created_at")
    search_fields = ("public_id", "sha256")
    list_select_related = ("project", "created_by")
    ordering = ("-id",)
