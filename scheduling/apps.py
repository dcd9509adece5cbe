from django.apps import AppConfig

RUNNING = """
    SELECT count(*) FROM scheduling_scheduleexecution e JOIN scheduling_schedule s ON s.id = e.schedule_id
    WHERE s.project_id = %(project)s AND e.state = 'Running'
"""


class SchedulingConfig(AppConfig):
    name = "scheduling"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from accounts.sections import Section, add_section

        section = Section(
            50,
            "Schedules",
            "schedules",
            "scheduling:list",
            ("scheduling",),
            RUNNING,
            "running",
            below=dict.fromkeys(("code", "fetch_code"), "tracking:experiment_list"),
        )
        add_section(section)
