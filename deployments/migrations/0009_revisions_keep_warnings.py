import django.contrib.postgres.fields
from django.db import migrations, models

# What an endpoint warned of is what its wanted revision warns of.
KEEP = """
    UPDATE deployments_deploymentrevision r SET warnings = d.warnings
    FROM deployments_deployment d WHERE d.wanted_revision_id = r.id AND d.warnings <> '{}'
"""


class Migration(migrations.Migration):
    dependencies = [
        ("deployments", "0008_next_rollout"),
    ]

    operations = [
        migrations.AddField(
            model_name="deploymentrevision",
            name="warnings",
            field=django.contrib.postgres.fields.ArrayField(
                base_field=models.TextField(), blank=True, db_default=[], default=list, size=None
            ),
        ),
        migrations.RunSQL(KEEP, migrations.RunSQL.noop),
    ]
