from django.apps import AppConfig


class TrackingConfig(AppConfig):
    name = "tracking"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from artifacts.uses import name_uses
        from tracking.models import RunFile
        from tracking.queries import runs_that_use

        name_uses(RunFile, runs_that_use)
