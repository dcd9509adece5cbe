import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models

from common.indexes import DropForeignKeyIndex


class Migration(migrations.Migration):
    dependencies = [
        ("accounts", "0013_a_cheaper_seal"),
    ]

    operations = [
        DropForeignKeyIndex(
            model_name="auditentry",
            name="project",
            field=models.ForeignKey(
                db_index=False,
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="audit_entries",
                to="accounts.project",
            ),
        ),
        DropForeignKeyIndex(
            model_name="membership",
            name="project",
            field=models.ForeignKey(
                db_index=False,
                on_delete=django.db.models.deletion.CASCADE,
                related_name="memberships",
                to="accounts.project",
            ),
        ),
        DropForeignKeyIndex(
            model_name="notification",
            name="user",
            field=models.ForeignKey(
                db_index=False,
                on_delete=django.db.models.deletion.CASCADE,
                related_name="notifications",
                to=settings.AUTH_USER_MODEL,
            ),
        ),
        DropForeignKeyIndex(
            model_name="notificationchoice",
            name="user",
            field=models.ForeignKey(
                db_index=False,
                on_delete=django.db.models.deletion.CASCADE,
                related_name="notification_choices",
                to=settings.AUTH_USER_MODEL,
            ),
        ),
        DropForeignKeyIndex(
            model_name="webhookdelivery",
            name="webhook",
            field=models.ForeignKey(
                db_index=False,
                on_delete=django.db.models.deletion.CASCADE,
                related_name="deliveries",
                to="accounts.webhook",
            ),
        ),
    ]
