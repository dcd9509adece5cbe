import django.db.models.deletion
from django.db import migrations, models

from common.indexes import DropForeignKeyIndex


class Migration(migrations.Migration):
    dependencies = [
        ("accounts", "0014_no_index_twice"),
        ("approvals", "0004_own_review_in_words"),
        ("tracking", "0008_no_index_twice"),
    ]

    operations = [
        DropForeignKeyIndex(
            model_name="approvalpolicy",
            name="project",
            field=models.ForeignKey(
                db_index=False,
                on_delete=django.db.models.deletion.CASCADE,
                related_name="approval_policies",
                to="accounts.project",
            ),
        ),
        DropForeignKeyIndex(
            model_name="approvalrequest",
            name="project",
            field=models.ForeignKey(
                db_index=False,
                on_delete=django.db.models.deletion.CASCADE,
                related_name="approval_requests",
                to="accounts.project",
            ),
        ),
        DropForeignKeyIndex(
            model_name="review",
            name="request",
            field=models.ForeignKey(
                db_index=False,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="reviews",
                to="approvals.approvalrequest",
            ),
        ),
        DropForeignKeyIndex(
            model_name="runauthor",
            name="run",
            field=models.ForeignKey(
                db_index=False,
                on_delete=django.db.models.deletion.CASCADE,
                related_name="+",
                to="tracking.run",
            ),
        ),
    ]
