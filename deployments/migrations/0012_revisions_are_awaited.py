from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("deployments", "0011_peaks_by_second"),
    ]

    operations = [
        migrations.AddField(
            model_name="deploymentrevision",
            name="awaited_at",
            field=models.DateTimeField(blank=True, editable=False, null=True),
        ),
    ]
