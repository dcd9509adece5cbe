"""What the verbs on experiments and runs take: bad input is refused here by name."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from accounts.models import Project
from artifacts.models import Blob
from artifacts.paths import check_path
from artifacts.services import check_digest
from common.checks import check_mapping, check_pattern, check_text, plain_number, shorten
from common.errors import Invalid
from tracking.queries import EXPERIMENT_ID, RUN_ID

EXPERIMENT_NAME = re.compile(r"[^\x00-\x1f\x7f\s](?:[^\x00-\x1f\x7f]*[^\x00-\x1f\x7f\s])?")
MAX_PARAM_BYTES = 8 * 1024
MAX_TAGS = 100
MAX_TAG_LENGTH = 5000
MAX_FILES = 10_000


def check_uploaded(project: Project, wanted: Mapping[str, str], blobs: Mapping[str, Blob]) -> None:
    for path, digest in wanted.items():
        if digest not in blobs:
            raise Invalid.field(
                "files",
                f"The bytes of {shorten(path)} ({digest}) were not uploaded to {project.slug}.",
                "Upload them first, then commit the file.",
                code="blob_missing",
            )


def check_experiment_name(name: object) -> str:
    text = check_pattern(
        "name",
        name,
        EXPERIMENT_NAME,
        "1 to 200 characters without line breaks or spaces at its ends",
        max_length=200,
    )
    if EXPERIMENT_ID.fullmatch(text):
        raise Invalid.field(
            "name", f"name is {shorten(text)}, which looks like an id.", "Choose another name."
        )
    return text


def check_run_id(run_id: object) -> str:
    rule = '"run-" and 6 to 32 lower-case letters and digits'
    return check_pattern("id", run_id, RUN_ID, rule, max_length=40)


def check_tags(tags: object, *, removable: bool = False) -> dict[str, str | None]:
    return {
        key: None
        if value is None and removable
        else check_text(f"tags.{key}"[:120], value, max_length=MAX_TAG_LENGTH)
        for key, value in check_mapping("tags", tags, max_count=MAX_TAGS).items()
    }


def check_param(field: str, value: object) -> Any:
    """One JSON scalar of at most 8 KiB; NaN and the infinities become text."""
    if isinstance(value, str):
        check_text(field, value, max_length=MAX_PARAM_BYTES)
    elif isinstance(value, float):
        value = plain_number(value)
    elif value is not None and not isinstance(value, int):
        raise Invalid.field(
            field, f"{field} is {shorten(value)}; it must be text, a number, true, false or null."
        )
    if len(json.dumps(value, ensure_ascii=False).encode()) > MAX_PARAM_BYTES:
        raise Invalid.field(field, f"{field} is longer than {MAX_PARAM_BYTES} bytes.", "Log it as a file.")
    return value


def check_files(files: object) -> dict[str, str]:
    """path -> digest; a path that comes twice must come with the same bytes."""
    if not isinstance(files, list | tuple):
        raise Invalid.field("files", f"files must be a list of paths and digests, not {shorten(files)}.")
    if len(files) > MAX_FILES:
        raise Invalid.field(
            "files",
            f"files has {len(files)} entries; at most {MAX_FILES} are allowed at once.",
            "Commit the rest next.",
        )
    wanted: dict[str, str] = {}
    for index, item in enumerate(files):
        if not isinstance(item, Mapping):
            raise Invalid.field(f"files.{index}", f"files.{index} must be an object with path and sha256.")
        path = check_path(f"files.{index}.path", item.get("path"))
        digest = check_digest(f"files.{index}.sha256", item.get("sha256"))
        if wanted.setdefault(path, digest) != digest:
            raise Invalid.field(
                f"files.{index}.path", f"files holds {shorten(path)} twice with different bytes."
            )
    return wanted
