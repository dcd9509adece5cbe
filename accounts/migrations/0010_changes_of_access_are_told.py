from django.db import migrations

# Payload: the user's id. Whoever keeps tokens in memory drops that user's. `last_used_at` changes nothing.
FORWARD = """
CREATE FUNCTION tell_of_access() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    changed jsonb := to_jsonb(coalesce(NEW, OLD));
BEGIN
    PERFORM pg_notify('tokens', coalesce(changed->>'user_id', changed->>'id'));
    RETURN NULL;
END $$;
CREATE TRIGGER tell AFTER INSERT OR DELETE OR UPDATE OF
    user_id, project_id, prefix, secret_hash, scopes, only_run, expires_at, revoked_at ON accounts_apitoken
    FOR EACH ROW EXECUTE FUNCTION tell_of_access();
CREATE TRIGGER tell AFTER INSERT OR DELETE OR UPDATE ON accounts_membership
    FOR EACH ROW EXECUTE FUNCTION tell_of_access();
CREATE TRIGGER tell AFTER DELETE OR UPDATE OF is_active, is_superuser, is_system ON accounts_user
    FOR EACH ROW EXECUTE FUNCTION tell_of_access();
"""
BACKWARD = """
DROP TRIGGER tell ON accounts_user;
DROP TRIGGER tell ON accounts_membership;
DROP TRIGGER tell ON accounts_apitoken;
DROP FUNCTION tell_of_access();
"""


class Migration(migrations.Migration):
    """The database says on the channel `tokens` whose access changed."""

    dependencies = [("accounts", "0009_lineage")]

    operations = [migrations.RunSQL(FORWARD, BACKWARD)]
