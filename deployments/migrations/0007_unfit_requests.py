from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("deployments", "0006_failing_endpoints"),
    ]

    operations = [
        migrations.AddField(
            model_name="endpointtraffic",
            name="unfit",
            field=models.PositiveIntegerField(db_default=0, default=0),
        ),
    ]
