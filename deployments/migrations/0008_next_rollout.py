from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("deployments", "0007_unfit_requests"),
    ]

    operations = [
        migrations.AddField(
            model_name="deployment",
            name="next_rollout",
            field=models.JSONField(blank=True, editable=False, null=True),
        ),
    ]
