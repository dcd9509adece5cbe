"""`manage.py bootstrap`: the first admin, project and token of a new installation. Safe to run again."""

from __future__ import annotations

import json
import os
import secrets
import shlex
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandParser
from django.db import transaction

from accounts.choices import Door, Scope
from accounts.models import ApiToken, Project, User
from accounts.permissions import Actor, system_actor
from accounts.services import create_project, create_token

ADMIN = "admin"
PROJECT = "default"


class Command(BaseCommand):
    help = "Makes the first admin, project and token, and leaves them in a file that only its owner reads."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--env-file", type=Path, help="where to leave the exports (mode 600)")

    def handle(self, *args: Any, **options: Any) -> None:
        call_command("createcachetable", verbosity=0)
        with transaction.atomic():
            first, values = self._first_admin()
            if first:
                _write_env(options["env_file"], values)
        self.stdout.write(json.dumps({"first": first, **(values if first else {})}))

    def _first_admin(self) -> tuple[bool, dict[str, str]]:
        system_actor(Door.COMMAND)
        if User.objects.filter(is_superuser=True).exists():
            return False, {}
        password = secrets.token_urlsafe(15)
        admin = User.objects.create_superuser(ADMIN, password=password)
        actor = Actor(user=admin, door=Door.COMMAND)
        project = Project.objects.filter(slug=PROJECT).first() or create_project(
            actor=actor, slug=PROJECT, name="Default"
        )
        assert not ApiToken.objects.filter(user=admin).exists()
        _, text = create_token(actor=actor, name="first token", scopes=[Scope.ADMIN], project=project)
        return True, {
            "PODSTACK_API_ENDPOINT": settings.PUBLIC_URL,
            "PODSTACK_API_TOKEN": text,
            "PODSTACK_PROJECT": PROJECT,
            "PODSTACK_ADMIN_USER": ADMIN,
            "PODSTACK_ADMIN_PASSWORD": password,
        }


def _write_env(path: Path | None, values: dict[str, str]) -> None:
    if path is None:
        return
    lines = [f"export {name}={shlex.quote(value)}\n" for name, value in values.items()]
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        os.fchmod(file.fileno(), 0o600)
        file.writelines(lines)
