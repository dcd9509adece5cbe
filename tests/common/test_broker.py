"""The way to the broker."""

from __future__ import annotations

import pytest
from celery import current_app

from launcher.ports import free_port


class Enough(Exception):
    """So many tries were seen."""


def test_a_broker_that_is_away_is_looked_for_once_a_second() -> None:
    pauses: list[float] = []

    def note(error: Exception, pause: float) -> None:
        pauses.append(pause)
        if len(pauses) == 4:
            raise Enough

    with (
        current_app.connection_for_read(f"redis://127.0.0.1:{free_port()}/0") as broker,
        pytest.raises(Enough),
    ):
        broker.ensure_connection(note, None)
    assert pauses == [1, 1, 1, 1]
