from django.apps import AppConfig


class DeploymentsConfig(AppConfig):
    name = "deployments"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from accounts.sections import Section, add_section
        from deployments.queries import ENDPOINT_NAMES, TROUBLED_ENDPOINTS, live_endpoints
        from registry.holds import register_live_endpoints

        register_live_endpoints(live_endpoints, ENDPOINT_NAMES)
        add_section(
            Section(
                30,
                "Deployments",
                "deployments",
                "deployments:list",
                ("deployments",),
                TROUBLED_ENDPOINTS,
                "failed or degraded",
                warns=True,
                below=dict.fromkeys(("deploy", "quarantine"), "registry:model_list"),
            )
        )
