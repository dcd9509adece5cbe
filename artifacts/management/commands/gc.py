"""`manage.py gc`: frees what nobody refers to."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from artifacts.collect import collect, measure


class Command(BaseCommand):
    help = "Frees lists of files and stored bytes that nobody refers to. Safe while the platform runs."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--dry-run", action="store_true", help="only say what would go; change nothing")
        parser.add_argument("--json", action="store_true", help="as one JSON object")

    def handle(self, *args: Any, **options: Any) -> None:
        freed = measure() if options["dry_run"] else collect()
        if options["json"]:
            self.stdout.write(json.dumps({**asdict(freed), "dry_run": options["dry_run"]}))
            return
        verb = "Would free" if options["dry_run"] else "Freed"
        what = f"{freed.manifests} manifests, {freed.blobs} blobs and {freed.strays} strays"
        self.stdout.write(f"{verb} {what}: {freed.bytes} bytes. Uploads given up: {freed.uploads}.")
