"""`manage.py purge`: makes permanent what lay in the trash long enough."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand

from accounts.choices import Door
from accounts.permissions import system_actor
from registry.trash import purge_models
from tracking.trash import purge_runs


class Command(BaseCommand):
    help = "Lets go for good of what was deleted more than TRASH_DAYS days ago. `gc` then frees its files."

    def handle(self, *args: Any, **options: Any) -> None:
        actor = system_actor(Door.COMMAND)
        models = purge_models(actor=actor)
        runs = purge_runs(actor=actor)
        self.stdout.write(f"Purged {models} models and versions, {runs} runs.")
