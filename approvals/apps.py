from django.apps import AppConfig


class ApprovalsConfig(AppConfig):
    name = "approvals"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from accounts.sections import Section, add_section
        from approvals.reviewers import WAITING

        section = Section(
            30,
            "Approvals",
            "approvals",
            "approvals:list",
            ("approvals",),
            f"SELECT count(*) FROM ({WAITING}) AS mine",  # noqa: S608
            "waiting for you",
            warns=True,
            below=dict.fromkeys(("change_stage", "many", "roll_back"), "registry:model_list"),
        )
        add_section(section)
