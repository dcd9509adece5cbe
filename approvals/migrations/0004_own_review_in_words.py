from django.db import migrations, models


class Migration(migrations.Migration):
    """Says whom `own_review` is about; nothing changes in the database."""

    dependencies = [("approvals", "0003_run_authors")]

    operations = [
        migrations.AlterField(
            model_name="approvalpolicy",
            name="own_review",
            field=models.BooleanField(
                default=False,
                help_text="Whether who asked for the move, made the version or had a part in training it may review.",
            ),
        )
    ]
