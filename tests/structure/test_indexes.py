"""Each index costs every write: none is kept that another one does the work of."""

from __future__ import annotations

import pytest
from django.apps import apps

from common import sql

# Indexes of all rows, whose columns another such index begins with.
NEEDLESS = """
    SELECT needless.indrelid::regclass::text, needless.indexrelid::regclass::text, other.indexrelid::regclass::text
    FROM pg_index needless JOIN pg_index other
      ON other.indrelid = needless.indrelid AND other.indexrelid <> needless.indexrelid
    WHERE NOT needless.indisunique AND needless.indpred IS NULL AND other.indpred IS NULL
      AND NOT 0 = ANY(needless.indkey)
      AND (string_to_array(other.indkey::text, ' '))[1:needless.indnkeyatts]
          = string_to_array(needless.indkey::text, ' ')
      AND (string_to_array(other.indclass::text, ' '))[1:needless.indnkeyatts]
          = string_to_array(needless.indclass::text, ' ')
"""
OURS = (
    "accounts",
    "approvals",
    "artifacts",
    "cluster",
    "common",
    "deployments",
    "registry",
    "scheduling",
    "tracking",
)


@pytest.mark.django_db
def test_no_index_is_the_beginning_of_another() -> None:
    tables = {model._meta.db_table for name in OURS for model in apps.get_app_config(name).get_models()}
    assert [row for row in sql.rows(NEEDLESS) if row[0] in tables] == []
