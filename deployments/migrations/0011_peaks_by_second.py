import django.contrib.postgres.fields
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("deployments", "0010_engines_away"),
    ]

    operations = [
        migrations.AddField(
            model_name="endpointtraffic",
            name="peaks",
            field=django.contrib.postgres.fields.ArrayField(
                base_field=models.PositiveIntegerField(), blank=True, db_default=[], default=list, size=None
            ),
        ),
    ]
