"""Lists pass over what lies in the trash by the index itself, and count by it."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("registry", "0007_lineage")]

    operations = [
        migrations.RemoveIndex(model_name="registeredmodel", name="models_by_change"),
        migrations.AddIndex(
            model_name="registeredmodel",
            index=models.Index(
                condition=models.Q(deleted_at=None),
                fields=["project", "-updated_at", "-id"],
                name="living_models_by_change",
            ),
        ),
    ]
