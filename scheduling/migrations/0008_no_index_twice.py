import django.db.models.deletion
from django.db import migrations, models

from common.indexes import DropForeignKeyIndex


class Migration(migrations.Migration):
    dependencies = [
        ("scheduling", "0007_acts_as"),
        ("tracking", "0008_no_index_twice"),
    ]

    operations = [
        DropForeignKeyIndex(
            model_name="scheduleexecution",
            name="schedule",
            field=models.ForeignKey(
                db_index=False,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="executions",
                to="scheduling.schedule",
            ),
        ),
        DropForeignKeyIndex(
            model_name="trainingcode",
            name="experiment",
            field=models.ForeignKey(
                db_index=False,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="training_codes",
                to="tracking.experiment",
            ),
        ),
    ]
