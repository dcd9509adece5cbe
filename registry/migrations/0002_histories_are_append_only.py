from django.db import migrations

TABLES = ("registry_stagetransition", "registry_aliasmove")
FORWARD = (
    "CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON {} FOR EACH ROW EXECUTE FUNCTION refuse_change()"
)
BACKWARD = "DROP TRIGGER append_only ON {}"


class Migration(migrations.Migration):
    """The database itself keeps the histories of stages and aliases append-only."""

    dependencies = [("registry", "0001_initial"), ("accounts", "0002_audit_is_append_only")]

    operations = [migrations.RunSQL(FORWARD.format(table), BACKWARD.format(table)) for table in TABLES]
