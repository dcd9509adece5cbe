from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("deployments", "0009_revisions_keep_warnings"),
    ]

    operations = [
        migrations.AddField(
            model_name="deployment",
            name="away",
            field=models.TextField(blank=True, db_default="", default="", editable=False),
        ),
    ]
