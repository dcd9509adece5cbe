from django.apps import AppConfig


class RegistryConfig(AppConfig):
    name = "registry"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from accounts.sections import Section, add_section
        from artifacts.models import ManifestFile
        from artifacts.uses import name_uses
        from registry.queries import versions_that_use

        name_uses(ManifestFile, versions_that_use)
        below = {
            "register_version": "tracking:experiment_list",
            **dict.fromkeys(("trash", "protections", "protection_remove"), ""),  # settings of the project
        }
        add_section(
            Section(10, "Model Registry", "models", "registry:model_list", ("registry",), below=below)
        )
