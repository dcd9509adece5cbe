from django.db import migrations

# Payload: the endpoint's id. Whoever keeps routes in memory drops that endpoint's.
FORWARD = """
UPDATE deployments_deploymentrevision SET replicas = min_replicas;
CREATE FUNCTION tell_of_routes() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    changed jsonb := to_jsonb(coalesce(NEW, OLD));
BEGIN
    PERFORM pg_notify('routes', coalesce(changed->>'deployment_id', changed->>'id'));
    RETURN NULL;
END $$;
CREATE TRIGGER tell AFTER INSERT OR UPDATE OR DELETE ON deployments_deployment
    FOR EACH ROW EXECUTE FUNCTION tell_of_routes();
CREATE TRIGGER tell AFTER INSERT OR UPDATE OR DELETE ON deployments_deploymentrevision
    FOR EACH ROW EXECUTE FUNCTION tell_of_routes();
"""
BACKWARD = """
DROP TRIGGER tell ON deployments_deploymentrevision;
DROP TRIGGER tell ON deployments_deployment;
DROP FUNCTION tell_of_routes();
"""


class Migration(migrations.Migration):
    """The database says on the channel `routes` which endpoint changed."""

    dependencies = [("deployments", "0002_rollouts_and_scaling")]

    operations = [migrations.RunSQL(FORWARD, BACKWARD)]
