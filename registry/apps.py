from django.apps import AppConfig


class RegistryConfig(AppConfig):
    name = "registry"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from artifacts.models import ManifestFile
        from artifacts.uses import name_uses
        from registry.queries import versions_that_use

        name_uses(ManifestFile, versions_that_use)
