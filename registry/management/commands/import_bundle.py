"""`manage.py import_bundle FILE --project SLUG [--model NAME]`: a version that another server exported."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from accounts.choices import Door
from accounts.permissions import find_project, system_actor
from common.errors import DomainError
from registry.bundles import import_bundle
from registry.services import version_label


class Command(BaseCommand):
    help = "Imports the model version in a bundle, as the system's own user."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("file", type=Path)
        parser.add_argument("--project", required=True, help="slug of the project that gets the version")
        parser.add_argument("--model", help="name for the model, else its own")

    def handle(self, *args: Any, **options: Any) -> None:
        actor = system_actor(Door.COMMAND)
        try:
            project = find_project(actor, options["project"])
            with options["file"].open("rb") as file:
                version = import_bundle(actor=actor, project=project, file=file, model_name=options["model"])
        except DomainError as error:
            raise CommandError(f"{error.message} {error.hint}".strip()) from error
        except OSError as error:
            raise CommandError(f"{options['file']} cannot be read: {error.strerror}.") from error
        self.stdout.write(f"{project.slug}/{version_label(version)}")
