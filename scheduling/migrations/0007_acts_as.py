import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models

FIELD = {"on_delete": django.db.models.deletion.PROTECT, "related_name": "+", "to": settings.AUTH_USER_MODEL}


class Migration(migrations.Migration):
    """Schedules from before act as who made them."""

    dependencies = [
        ("scheduling", "0006_refused"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.AddField("schedule", "acts_as", models.ForeignKey(null=True, **FIELD)),
        migrations.RunSQL(
            "UPDATE scheduling_schedule SET acts_as_id = created_by_id", migrations.RunSQL.noop
        ),
        migrations.AlterField("schedule", "acts_as", models.ForeignKey(**FIELD)),
    ]
