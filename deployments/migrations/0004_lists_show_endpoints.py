from django.db import migrations

FORWARD = """
CREATE CONSTRAINT TRIGGER shown AFTER INSERT OR DELETE ON deployments_deployment
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION note_change('project');
CREATE CONSTRAINT TRIGGER shown_anew AFTER UPDATE ON deployments_deployment
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW WHEN (
        (OLD.endpoint_name, OLD.model_id, OLD.wanted, OLD.state, OLD.wanted_revision_id, OLD.serving_revision_id)
        IS DISTINCT FROM
        (NEW.endpoint_name, NEW.model_id, NEW.wanted, NEW.state, NEW.wanted_revision_id, NEW.serving_revision_id))
    EXECUTE FUNCTION note_change('project');
"""
BACKWARD = """
DROP TRIGGER shown_anew ON deployments_deployment;
DROP TRIGGER shown ON deployments_deployment;
"""


class Migration(migrations.Migration):
    """Lists of models show which endpoints are live, which changes without an audit entry."""

    dependencies = [
        ("deployments", "0003_changes_are_told"),
        ("accounts", "0012_changes_without_entry"),
    ]

    operations = [migrations.RunSQL(FORWARD, BACKWARD)]
