from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.apps import AppConfig

if TYPE_CHECKING:
    from django.db.models import QuerySet

    from accounts.models import Project, User


class SchedulingConfig(AppConfig):
    name = "scheduling"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from accounts.sections import Section, add_section

        add_section(
            Section(
                order=50,
                label="Schedules",
                icon="schedules",
                url_name="scheduling:list",
                apps=("scheduling",),
                count=running,
                counted="running",
            )
        )


def running(project: Project, user: User) -> QuerySet[Any]:
    """The executions that train at the moment."""
    from scheduling.choices import ExecutionState
    from scheduling.models import ScheduleExecution

    return ScheduleExecution.objects.filter(schedule__project=project, state=ExecutionState.RUNNING)
