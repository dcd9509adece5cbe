from django.apps import AppConfig


class TrackingConfig(AppConfig):
    name = "tracking"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from accounts.sections import Section, add_section
        from artifacts.uses import name_uses
        from tracking.models import RunFile
        from tracking.queries import RUNNING_RUNS, runs_that_use

        name_uses(RunFile, runs_that_use)
        add_section(
            Section(
                20,
                "Experiments",
                "experiments",
                "tracking:experiment_list",
                ("tracking",),
                RUNNING_RUNS,
                "running now",
            )
        )
