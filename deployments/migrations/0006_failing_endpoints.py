from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("deployments", "0005_shadow_revisions"),
    ]

    operations = [
        migrations.AddField(
            model_name="deployment",
            name="failing",
            field=models.TextField(blank=True, db_default="", default="", editable=False),
        ),
    ]
