from django.apps import AppConfig

UNREAD = """
    SELECT count(*) FROM accounts_notification n
    WHERE n.user_id = %(user)s AND n.project_id = %(project)s AND n.read_at IS NULL AND n.in_inbox
"""


class AccountsConfig(AppConfig):
    name = "accounts"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from accounts import sign_ins  # noqa: F401  its receivers
        from accounts.sections import Section, add_section

        bell = Section(
            900, "Notifications", "bell", "accounts:inbox", ("accounts",), UNREAD, "unread", True, in_bar=True
        )
        add_section(bell)
