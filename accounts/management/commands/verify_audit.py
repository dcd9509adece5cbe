"""`manage.py verify_audit`: whether the audit trail is what was written."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from accounts import chain
from accounts.models import Project


class Command(BaseCommand):
    help = (
        "Names each audit entry that was changed, removed or inserted past the platform, then prints the head of each "
        "chain. Ends with 0 when all is well, 1 when it found something, 2 when it could not look."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--project", help="of one project only")
        parser.add_argument(
            "--expect",
            action="append",
            default=[],
            metavar="CHAIN:POSITION:HASH",
            help="a head that an earlier run printed; it must still be there",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        project = _project(options["project"])
        found = list(chain.faults(project))
        for text in options["expect"]:
            head = _head(text)
            if not chain.still_holds(head):
                found.append(f"{head.chain}, position {head.position}: it is not the link that is expected.")
        for sentence in found:
            self.stdout.write(sentence)
        if found:
            raise CommandError(f"The audit trail was tampered with: {len(found)} findings.", returncode=1)
        for head in chain.heads(project):
            self.stdout.write(str(head))
        self.stdout.write("All is well.")


def _project(slug: str | None) -> Project | None:
    if slug is None:
        return None
    found = Project.objects.filter(slug=slug).first()
    if found is None:
        raise CommandError(f"There is no project {slug!r}.", returncode=2)
    return found


def _head(text: str) -> chain.Head:
    name, _, rest = text.partition(":")
    position, _, digest = rest.partition(":")
    if not position.isdigit() or len(position) > 18:
        raise CommandError(f"{text!r} is not written as chain:position:hash.", returncode=2)
    return chain.Head(name, int(position), digest)
