"""`manage.py fsck`: compares the database with what lies in storage."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from artifacts.fsck import Check, Finding
from common.errors import DomainError


class Command(BaseCommand):
    help = (
        "Names each stored file that is missing, changed, without a row or unfinished. Changes nothing. "
        "Ends with 0 when all is well, 1 when it found something, 2 when it could not look."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--fast", action="store_true", help="compare sizes only, read no file")
        parser.add_argument("--fix-nothing", action="store_true", help="as always: only look")
        parser.add_argument("--json", action="store_true", help="as one JSON object")

    def handle(self, *args: Any, **options: Any) -> None:
        check = Check(fast=options["fast"])
        found: list[Finding] = []
        try:
            for finding in check.findings():
                found.append(finding)
                if not options["json"]:
                    self.stdout.write(_line(finding))
        except DomainError as error:
            raise CommandError(f"{error.message} {error.hint}", returncode=2) from error
        summary = {"blobs": check.blobs, "bytes": check.bytes}
        if options["json"]:
            self.stdout.write(json.dumps({**summary, "findings": [asdict(each) for each in found]}))
        if found:
            raise CommandError(f"{len(found)} findings in {check.blobs} blobs.", returncode=1)
        if not options["json"]:
            self.stdout.write(f"All is well: {check.blobs} blobs, {check.bytes} bytes.")


def _line(finding: Finding) -> str:
    used = f" Used by {', '.join(finding.used_by)}." if finding.used_by else ""
    return f"{finding.kind} {finding.name}: {finding.detail}.{used}"
