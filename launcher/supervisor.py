"""Keeps servers running: starts again what dies, and ends all of them in order."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any, Protocol

from launcher.errors import LaunchError
from launcher.guard import Guard
from launcher.process import last_lines, wait_until

SHORTEST_PAUSE = 1.0
LONGEST_PAUSE = 30.0
CALM_SECONDS = 60.0


class Server(Protocol):
    """What the supervisor looks after: a Child, or the PostgreSQL and broker built on one."""

    name: str
    log: Path
    stop_signal: signal.Signals
    kill_signal: signal.Signals

    @property
    def pid(self) -> int | None: ...
    def start(self) -> object: ...
    def ended(self) -> str: ...
    def send_stop(self, *, kill: bool = False) -> None: ...
    def stop(self, *, seconds: float = 10) -> None: ...


@dataclass(slots=True)
class _Watched:
    server: Server
    started_at: float = field(default_factory=time.monotonic)
    pause: float = SHORTEST_PAUSE
    again_at: float | None = None


class StopRequest:
    """Counts Ctrl-C, SIGTERM and SIGHUP: the first ends cleanly, the second at once."""

    def __init__(self) -> None:
        self.count = 0
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> StopRequest:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def __bool__(self) -> bool:
        return self.count > 0

    @property
    def at_once(self) -> bool:
        """Whether it was asked a second time."""
        return self.count > 1

    def _note(self, _number: int, _frame: FrameType | None) -> None:
        self.count += 1


class Supervisor:
    """Watches servers from one thread. `say` shows a line to the person at the terminal."""

    def __init__(self, stop: StopRequest, say: Callable[[str], None]) -> None:
        self._stop = stop
        self._say = say
        self._guard = Guard()
        self._watched: dict[str, _Watched] = {}

    def start(self, server: Server) -> Any:
        """Start a server, keep it running from now on, and return what its own start returned."""
        self._watched[server.name] = _Watched(server)
        answer = server.start()
        self._guard_it(server)
        return answer

    def tick(self) -> None:
        """Notice what has died, and start again what has waited long enough."""
        now = time.monotonic()
        for watched in self._watched.values():
            if self._stop:
                return
            if watched.again_at is not None:
                if now >= watched.again_at:
                    self._start_again(watched)
            elif how := watched.server.ended():
                self._note_end(watched, how, now)

    def wait(self, happened: Callable[[], bool], seconds: float) -> bool:
        """Look after the servers until it happened, the time is over, or the stop was asked for."""
        return wait_until(lambda: self._look() or bool(self._stop) or happened(), seconds, pause=0.1)

    def run(self) -> None:
        """Look after the servers until the stop is asked for."""
        while not self._stop:
            self.tick()
            time.sleep(0.1)

    def end_all(self, steps: Sequence[Sequence[str]], seconds: float) -> None:
        """End the servers step by step; those of one step (by name) end side by side, within `seconds`."""
        for names in steps:
            servers = [self._watched[name].server for name in names if name in self._watched]
            for server in servers:
                server.send_stop(kill=self._stop.at_once)
            gone = wait_until(lambda servers=servers: self._gone(servers), seconds)  # type: ignore[misc]
            for server in servers:
                if self._stop.at_once or not gone:
                    server.send_stop(kill=True)
                server.stop(seconds=2)
                if server.pid is not None:
                    self._guard.drop(server.pid)
        self._guard.close()

    def _gone(self, servers: Sequence[Server]) -> bool:
        """Whether all of them have ended; a second Ctrl-C also ends the waiting."""
        return self._stop.at_once or all(server.pid is None or server.ended() for server in servers)

    def _look(self) -> bool:
        self.tick()
        return False

    def _note_end(self, watched: _Watched, how: str, now: float) -> None:
        server = watched.server
        if server.pid is not None:
            self._guard.drop(server.pid)
        calm = now - watched.started_at > CALM_SECONDS
        watched.pause = SHORTEST_PAUSE if calm else min(watched.pause * 2, LONGEST_PAUSE)
        watched.again_at = now + watched.pause
        self._say(f"{server.name} {how}. The end of {server.log}:")
        for line in last_lines(server.log):
            self._say(f"{server.name} | {line}")
        self._say(f"{server.name} is started again in {watched.pause:.0f} s.")

    def _start_again(self, watched: _Watched) -> None:
        watched.again_at, watched.started_at = None, time.monotonic()
        try:
            watched.server.start()
        except (LaunchError, OSError) as error:
            watched.pause = min(watched.pause * 2, LONGEST_PAUSE)
            watched.again_at = time.monotonic() + watched.pause
            self._say(f"{error} Trying again in {watched.pause:.0f} s.")
            return
        self._guard_it(watched.server)
        self._say(f"{watched.server.name} is running again.")

    def _guard_it(self, server: Server) -> None:
        if server.pid is not None:
            self._guard.add(server.pid, server.stop_signal, server.kill_signal)
