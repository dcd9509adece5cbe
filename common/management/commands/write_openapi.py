"""`manage.py write_openapi`: writes the description of the API that tests compare with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandParser


class Command(BaseCommand):
    help = "Writes the OpenAPI description, sorted, to a file."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("file", type=Path)

    def handle(self, *args: Any, **options: Any) -> None:
        call_command("spectacular", file=str(options["file"]), validate=True, fail_on_warn=True)
