from django.db import migrations, models

FORWARD = """
CREATE FUNCTION note_change() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    way bigint := 0;
BEGIN
    IF TG_ARGV[0] = 'project' THEN
        way := coalesce(NEW.project_id, OLD.project_id);
    END IF;
    PERFORM pg_advisory_xact_lock(hashtextextended('audit chain', way));
    INSERT INTO accounts_change AS known (chain, count) VALUES (way, 1)
    ON CONFLICT (chain) DO UPDATE SET count = known.count + 1;
    RETURN NULL;
END $$;
CREATE CONSTRAINT TRIGGER renamed AFTER UPDATE ON accounts_user
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW WHEN (OLD.username IS DISTINCT FROM NEW.username)
    EXECUTE FUNCTION note_change();
"""
BACKWARD = """
DROP TRIGGER renamed ON accounts_user;
DROP FUNCTION note_change();
"""


class Migration(migrations.Migration):
    """Counts, at the commit, what changes without an audit entry and is shown by lists."""

    dependencies = [("accounts", "0011_project_groups")]

    operations = [
        migrations.CreateModel(
            name="Change",
            fields=[
                ("chain", models.BigIntegerField(primary_key=True, serialize=False)),
                ("count", models.BigIntegerField(default=0)),
            ],
        ),
        migrations.RunSQL(FORWARD, BACKWARD),
    ]
