import django.db.models.deletion
from django.db import migrations, models

from common.indexes import DropForeignKeyIndex


class Migration(migrations.Migration):
    dependencies = [
        ("deployments", "0012_revisions_are_awaited"),
    ]

    operations = [
        DropForeignKeyIndex(
            model_name="deploymentrevision",
            name="deployment",
            field=models.ForeignKey(
                db_index=False,
                on_delete=django.db.models.deletion.CASCADE,
                related_name="revisions",
                to="deployments.deployment",
            ),
        ),
        DropForeignKeyIndex(
            model_name="endpointtraffic",
            name="deployment",
            field=models.ForeignKey(
                db_index=False,
                on_delete=django.db.models.deletion.CASCADE,
                related_name="traffic",
                to="deployments.deployment",
            ),
        ),
        DropForeignKeyIndex(
            model_name="endpointtraffic",
            name="revision",
            field=models.ForeignKey(
                db_index=False,
                on_delete=django.db.models.deletion.CASCADE,
                related_name="traffic",
                to="deployments.deploymentrevision",
            ),
        ),
        DropForeignKeyIndex(
            model_name="replicasample",
            name="deployment",
            field=models.ForeignKey(
                db_index=False,
                on_delete=django.db.models.deletion.CASCADE,
                related_name="replica_samples",
                to="deployments.deployment",
            ),
        ),
    ]
