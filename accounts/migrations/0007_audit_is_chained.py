from django.db import migrations

# The same content as accounts.chain.CONTENT: a test compares them.
FORWARD = """
CREATE FUNCTION seal_audit_entry() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    way bigint := coalesce(NEW.project_id, 0);
    last record;
    content text;
BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended('audit chain', way));
    SELECT position, hash INTO last FROM accounts_auditseal WHERE chain = way ORDER BY position DESC LIMIT 1;
    SELECT jsonb_build_array(
        e.id, to_char(e.at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US'), e.project_id, e.actor_id, e.token_prefix,
        e.door, e.verb, e.object_type, e.object_id, e.before, e.after, e.request_id)::text
        INTO content FROM accounts_auditentry e WHERE e.id = NEW.id;
    INSERT INTO accounts_auditseal (entry_id, chain, position, hash)
    VALUES (NEW.id, way, coalesce(last.position, 0) + 1,
            encode(sha256(convert_to(coalesce(last.hash, '') || content, 'UTF8')), 'hex'));
    RETURN NULL;
END $$;
DO $$
DECLARE
    NEW record;
    last record;
BEGIN
    FOR NEW IN SELECT e.id, coalesce(e.project_id, 0) AS way, jsonb_build_array(
        e.id, to_char(e.at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US'), e.project_id, e.actor_id, e.token_prefix,
        e.door, e.verb, e.object_type, e.object_id, e.before, e.after, e.request_id)::text AS content
        FROM accounts_auditentry e ORDER BY e.id
    LOOP
        SELECT position, hash INTO last FROM accounts_auditseal
        WHERE chain = NEW.way ORDER BY position DESC LIMIT 1;
        INSERT INTO accounts_auditseal (entry_id, chain, position, hash)
        VALUES (NEW.id, NEW.way, coalesce(last.position, 0) + 1,
                encode(sha256(convert_to(coalesce(last.hash, '') || NEW.content, 'UTF8')), 'hex'));
    END LOOP;
END $$;
CREATE CONSTRAINT TRIGGER seal AFTER INSERT ON accounts_auditentry
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION seal_audit_entry();
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON accounts_auditseal
    FOR EACH ROW EXECUTE FUNCTION refuse_change();
"""
BACKWARD = """
DROP TRIGGER append_only ON accounts_auditseal;
DROP TRIGGER seal ON accounts_auditentry;
DROP FUNCTION seal_audit_entry();
"""


class Migration(migrations.Migration):
    """The database links each entry to the one before it when its transaction commits.

    A chain's lock is taken at the commit alone, so that no verb waits for another one's work.
    """

    dependencies = [("accounts", "0006_audit_chain")]

    operations = [migrations.RunSQL(FORWARD, BACKWARD)]
