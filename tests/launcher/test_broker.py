"""The embedded broker."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from launcher import programs
from launcher.broker import Broker
from launcher.errors import LaunchError
from launcher.process import wait_until


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    broker = Broker(log=tmp_path / "broker.log")
    yield broker
    broker.stop()


def test_it_answers_with_its_password_only(broker: Broker) -> None:
    url = broker.start()
    with redis.Redis.from_url(url) as client:
        assert client.ping()
        assert client.config_get("save") == {"save": ""}
        client.select(63)
    stranger = redis.Redis.from_url(url.replace(url.split(":")[2].split("@")[0], "wrong"))
    with pytest.raises(redis.AuthenticationError):
        stranger.ping()
    command_line = Path(f"/proc/{broker.pid}/cmdline").read_text()
    assert url.split(":")[2].split("@")[0] not in command_line
    if os.geteuid() == 0:
        assert Path(f"/proc/{broker.pid}").stat().st_uid != 0


def test_it_is_the_same_after_a_restart(broker: Broker) -> None:
    url = broker.start()
    assert broker.pid
    os.kill(broker.pid, signal.SIGKILL)
    assert wait_until(lambda: bool(broker.ended()), 60)
    assert broker.start() == url
    assert redis.Redis.from_url(url).ping()
    broker.stop()
    assert broker.ended() == "ended with status 0"


def test_no_program_is_told_in_a_sentence(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(programs, "_package_folder", lambda name: tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(LaunchError, match="or set REDIS_URL"):
        programs.find_broker()
