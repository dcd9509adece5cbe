"""`manage.py export_bundle MODEL VERSION FILE --project SLUG`: a version as one signed file."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from accounts.choices import Door
from accounts.permissions import find_project, system_actor
from common.errors import DomainError
from registry.bundles import export_version


class Command(BaseCommand):
    help = "Writes a model version into a bundle, as the system's own user."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("model")
        parser.add_argument("version", help='a number, "latest" or an alias')
        parser.add_argument("file", type=Path, help="must not be there yet")
        parser.add_argument("--project", required=True, help="slug of the project that has the version")

    def handle(self, *args: Any, **options: Any) -> None:
        actor, target = system_actor(Door.COMMAND), options["file"]
        draft = target.with_name(f".{target.name}.part")
        try:
            project = find_project(actor, options["project"])
            bundle = export_version(
                actor=actor, project=project, model_name=options["model"], ref=options["version"]
            )
            with draft.open("wb") as file:
                file.writelines(bundle.pieces)
            os.link(draft, target)  # unlike a rename, never over a file that is there
        except DomainError as error:
            raise CommandError(f"{error.message} {error.hint}".strip()) from error
        except OSError as error:
            raise CommandError(f"{target} cannot be written: {error.strerror or error}.") from error
        finally:
            draft.unlink(missing_ok=True)
        self.stdout.write(str(target))
