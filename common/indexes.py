"""Migrations of indexes where Django's own would do more than is needed."""

from __future__ import annotations

from typing import Any

from django.db.migrations import AlterField
from django.db.models import Index


class DropForeignKeyIndex(AlterField):
    """A foreign key that has `db_index=False` now: its index goes and its constraint stays.

    AlterField would make the constraint anew, for which PostgreSQL reads the whole table under a lock.
    """

    def database_forwards(self, app_label: str, schema_editor: Any, from_state: Any, to_state: Any) -> None:
        model = from_state.apps.get_model(app_label, self.model_name)
        column = model._meta.get_field(self.name).column
        named = {index.name for index in model._meta.indexes}
        own = {"index": True, "unique": False, "type_": Index.suffix, "exclude": named}
        for name in schema_editor._constraint_names(model, [column], **own):
            schema_editor.execute(schema_editor._delete_index_sql(model, name))

    def database_backwards(self, app_label: str, schema_editor: Any, from_state: Any, to_state: Any) -> None:
        model = to_state.apps.get_model(app_label, self.model_name)
        field = model._meta.get_field(self.name)
        schema_editor.execute(schema_editor._create_index_sql(model, fields=[field]))
