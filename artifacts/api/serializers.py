"""Blobs and files as JSON."""

from __future__ import annotations

from rest_framework import serializers

from artifacts import uploads
from artifacts.models import Upload
from artifacts.paths import check_path


class BlobSerializer(serializers.Serializer):
    sha256 = serializers.CharField()
    size = serializers.IntegerField(help_text="bytes")


class DigestsInput(serializers.Serializer):
    sha256 = serializers.ListField(
        child=serializers.CharField(max_length=64), max_length=1000, help_text="64 lower-case hex digits each"
    )


class MissingSerializer(serializers.Serializer):
    """The digests whose bytes have to be uploaded."""

    missing = serializers.ListField(child=serializers.CharField())
    direct = serializers.BooleanField(
        help_text="whether large ones are put straight into the server's storage"
    )


class StoredSerializer(serializers.Serializer):
    """How many different files were stored."""

    stored = serializers.IntegerField()


class UploadInput(serializers.Serializer):
    sha256 = serializers.CharField(max_length=64, help_text="64 lower-case hex digits")
    size = serializers.IntegerField(min_value=1, max_value=2**53, help_text="bytes")
    part_size = serializers.IntegerField(
        min_value=uploads.MIN_PART_SIZE,
        max_value=uploads.MAX_PART_SIZE,
        required=False,
        help_text="bytes; 64 MiB if it is left out",
    )


class UploadSerializer(serializers.Serializer):
    """An upload in parts. All parts have `part_size` bytes, the last one has the rest; they count from 1."""

    id = serializers.CharField(source="public_id")
    sha256 = serializers.CharField()
    size = serializers.IntegerField(help_text="bytes")
    part_size = serializers.IntegerField(help_text="bytes")
    part_count = serializers.IntegerField()
    parts = serializers.SerializerMethodField(help_text="the numbers of the parts that came")
    created_by = serializers.CharField(source="created_by.username")
    created_at = serializers.DateTimeField()
    touched_at = serializers.DateTimeField(help_text="when it was begun again or a part came last")
    completed_at = serializers.DateTimeField(allow_null=True)
    direct = serializers.SerializerMethodField(
        help_text="whether parts are put straight into the storage, at what `addresses` gives"
    )

    def get_direct(self, upload: Upload) -> bool:
        return uploads.sends_direct()

    def get_parts(self, upload: Upload) -> list[int]:
        return uploads.parts_of(upload)


class PartNumbersInput(serializers.Serializer):
    numbers = serializers.ListField(
        child=serializers.IntegerField(min_value=1, max_value=uploads.MAX_PARTS), min_length=1, max_length=100
    )


class PartAddressSerializer(serializers.Serializer):
    """Where a part is put by PUT, without a token, for an hour; its body has exactly `size` bytes."""

    number = serializers.IntegerField()
    size = serializers.IntegerField(help_text="bytes")
    url = serializers.CharField()


class PartAddressesSerializer(serializers.Serializer):
    addresses = PartAddressSerializer(many=True)


class PartSerializer(serializers.Serializer):
    """A part that is kept."""

    number = serializers.IntegerField()
    size = serializers.IntegerField(help_text="bytes")


class PathsInput(serializers.Serializer):
    paths = serializers.ListField(
        child=serializers.CharField(max_length=1024, trim_whitespace=False), min_length=1, max_length=1000
    )

    def validate_paths(self, paths: list[str]) -> list[str]:
        return [check_path("paths", path) for path in paths]


class FileSerializer(serializers.Serializer):
    """A file of a run or a version: a path and its bytes."""

    path = serializers.CharField()
    size = serializers.IntegerField(source="blob.size", help_text="bytes")
    sha256 = serializers.CharField(source="blob.sha256")
