from django.db import migrations

TABLES = ("approvals_review", "approvals_requestevent")
FORWARD = (
    "CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON {} FOR EACH ROW EXECUTE FUNCTION refuse_change()"
)
BACKWARD = "DROP TRIGGER append_only ON {}"


class Migration(migrations.Migration):
    """The database itself keeps the histories of requests append-only."""

    dependencies = [("approvals", "0001_initial"), ("accounts", "0002_audit_is_append_only")]

    operations = [migrations.RunSQL(FORWARD.format(table), BACKWARD.format(table)) for table in TABLES]
