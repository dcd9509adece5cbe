import django.db.models.deletion
from django.db import migrations, models

from common.indexes import DropForeignKeyIndex


class Migration(migrations.Migration):
    dependencies = [
        ("accounts", "0014_no_index_twice"),
        ("registry", "0008_living_models"),
        ("tracking", "0008_no_index_twice"),
    ]

    operations = [
        migrations.RemoveIndex(
            model_name="modelversion",
            name="versions_of_model",
        ),
        DropForeignKeyIndex(
            model_name="alias",
            name="model",
            field=models.ForeignKey(
                db_index=False,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="aliases",
                to="registry.registeredmodel",
            ),
        ),
        DropForeignKeyIndex(
            model_name="modelversion",
            name="model",
            field=models.ForeignKey(
                db_index=False,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="versions",
                to="registry.registeredmodel",
            ),
        ),
        DropForeignKeyIndex(
            model_name="protection",
            name="project",
            field=models.ForeignKey(
                db_index=False,
                on_delete=django.db.models.deletion.CASCADE,
                related_name="protections",
                to="accounts.project",
            ),
        ),
        DropForeignKeyIndex(
            model_name="registeredmodel",
            name="project",
            field=models.ForeignKey(
                db_index=False,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="models",
                to="accounts.project",
            ),
        ),
        DropForeignKeyIndex(
            model_name="runinput",
            name="run",
            field=models.ForeignKey(
                db_index=False,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="inputs",
                to="tracking.run",
            ),
        ),
        DropForeignKeyIndex(
            model_name="versionmetric",
            name="version",
            field=models.ForeignKey(
                db_index=False,
                on_delete=django.db.models.deletion.CASCADE,
                related_name="metrics",
                to="registry.modelversion",
            ),
        ),
        DropForeignKeyIndex(
            model_name="versionparam",
            name="version",
            field=models.ForeignKey(
                db_index=False,
                on_delete=django.db.models.deletion.CASCADE,
                related_name="params",
                to="registry.modelversion",
            ),
        ),
        DropForeignKeyIndex(
            model_name="versiontag",
            name="version",
            field=models.ForeignKey(
                db_index=False,
                on_delete=django.db.models.deletion.CASCADE,
                related_name="tags",
                to="registry.modelversion",
            ),
        ),
    ]
