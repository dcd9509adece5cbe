import django.db.models.deletion
from django.db import migrations, models

from common.indexes import DropForeignKeyIndex


class Migration(migrations.Migration):
    dependencies = [
        ("accounts", "0014_no_index_twice"),
        ("artifacts", "0004_uploads"),
    ]

    operations = [
        DropForeignKeyIndex(
            model_name="manifestfile",
            name="manifest",
            field=models.ForeignKey(
                db_index=False,
                on_delete=django.db.models.deletion.CASCADE,
                related_name="files",
                to="artifacts.manifest",
            ),
        ),
        DropForeignKeyIndex(
            model_name="projectblob",
            name="project",
            field=models.ForeignKey(
                db_index=False,
                on_delete=django.db.models.deletion.CASCADE,
                related_name="blobs",
                to="accounts.project",
            ),
        ),
        DropForeignKeyIndex(
            model_name="uploadpart",
            name="upload",
            field=models.ForeignKey(
                db_index=False,
                on_delete=django.db.models.deletion.CASCADE,
                related_name="parts",
                to="artifacts.upload",
            ),
        ),
    ]
