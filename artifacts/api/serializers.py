"""Blobs and files as JSON."""

from __future__ import annotations

from rest_framework import serializers

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


class StoredSerializer(serializers.Serializer):
    """How many different files were stored."""

    stored = serializers.IntegerField()


class PathsInput(serializers.Serializer):
    paths = serializers.ListField(
        child=serializers.CharField(max_length=1024, trim_whitespace=False), min_length=1, max_length=1000
    )

    def validate_paths(self, paths: list[str]) -> list[str]:
        return [check_path("paths", path) for path in paths]


class FileSerializer(serializers.Serializer):
    """A file of a run: a path and its bytes."""

    path = serializers.CharField()
    size = serializers.IntegerField(source="blob.size", help_text="bytes")
    sha256 = serializers.CharField(source="blob.sha256")
