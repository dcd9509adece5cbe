from django.apps import AppConfig

BAD = "SELECT count(*) FROM tracking_dataset WHERE project_id = %(project)s AND bad_at IS NOT NULL"


class LineageConfig(AppConfig):
    name = "lineage"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from accounts.sections import Section, add_section

        section = Section(
            25,
            "Datasets",
            "datasets",
            "lineage:dataset_list",
            ("lineage",),
            BAD,
            "marked bad",
            warns=True,
            pages=("dataset_list", "dataset"),
            below={"reproduce": "registry:model_list"},
        )
        add_section(section)
