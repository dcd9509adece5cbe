import django.db.models.deletion
from django.db import migrations, models

from common.indexes import DropForeignKeyIndex


class Migration(migrations.Migration):
    dependencies = [
        ("accounts", "0014_no_index_twice"),
        ("tracking", "0007_lineage"),
    ]

    operations = [
        DropForeignKeyIndex(
            model_name="dataset",
            name="project",
            field=models.ForeignKey(
                db_index=False,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="datasets",
                to="accounts.project",
            ),
        ),
        DropForeignKeyIndex(
            model_name="experiment",
            name="project",
            field=models.ForeignKey(
                db_index=False,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="experiments",
                to="accounts.project",
            ),
        ),
        DropForeignKeyIndex(
            model_name="run",
            name="experiment",
            field=models.ForeignKey(
                db_index=False,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="runs",
                to="tracking.experiment",
            ),
        ),
        DropForeignKeyIndex(
            model_name="run",
            name="project",
            field=models.ForeignKey(
                db_index=False,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="runs",
                to="accounts.project",
            ),
        ),
        DropForeignKeyIndex(
            model_name="rundataset",
            name="run",
            field=models.ForeignKey(
                db_index=False,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="dataset_links",
                to="tracking.run",
            ),
        ),
        DropForeignKeyIndex(
            model_name="runfile",
            name="run",
            field=models.ForeignKey(
                db_index=False,
                on_delete=django.db.models.deletion.CASCADE,
                related_name="files",
                to="tracking.run",
            ),
        ),
        DropForeignKeyIndex(
            model_name="runmetric",
            name="run",
            field=models.ForeignKey(
                db_index=False,
                on_delete=django.db.models.deletion.CASCADE,
                related_name="metrics",
                to="tracking.run",
            ),
        ),
        DropForeignKeyIndex(
            model_name="runparam",
            name="run",
            field=models.ForeignKey(
                db_index=False,
                on_delete=django.db.models.deletion.CASCADE,
                related_name="params",
                to="tracking.run",
            ),
        ),
        DropForeignKeyIndex(
            model_name="runtag",
            name="run",
            field=models.ForeignKey(
                db_index=False,
                on_delete=django.db.models.deletion.CASCADE,
                related_name="tags",
                to="tracking.run",
            ),
        ),
    ]
