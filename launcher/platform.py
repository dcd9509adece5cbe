"""The whole platform, from settings to banner: `Platform(env).run()`."""

from __future__ import annotations

import http.client
import os
import time
from dataclasses import replace

from config.env import Env
from launcher import commands, demo, house, ports
from launcher.broker import Broker
from launcher.errors import LaunchError
from launcher.postgres import Postgres
from launcher.process import Child, last_lines
from launcher.supervisor import StopRequest, Supervisor

READY_SECONDS = 120
STOP_SECONDS = 15
STOP_STEPS = (
    ("web", "gateway"),
    ("worker", "long-worker", "ticker", "dispatcher"),
    ("engine", "broker"),
    ("postgres",),
)


class Stopped(Exception):
    """The person asked for the end before the platform was up."""


class Platform:
    """All processes of one VAR_DIR. `run` returns when they have ended again."""

    def __init__(self, env: Env) -> None:
        self._env = env
        self._began = time.monotonic()
        self._stop = StopRequest()
        self._first = not (env.var_dir / "dev.env").exists()

    def run(self) -> int:
        """Start everything, look after it until Ctrl-C or SIGTERM, end everything; the exit status."""
        os.umask(0o077)
        with self._stop:
            try:
                house.make_var_dir(self._env.var_dir)
                lock = house.lock(self._env.var_dir)
            except LaunchError as error:
                say(str(error))
                return 1
            try:
                return self._supervise()
            finally:
                os.close(lock)

    def _supervise(self) -> int:
        supervisor = Supervisor(self._stop, say)
        try:
            house.check_port(self._env.host, self._env.port)
            house.check_port(self._env.host, self._env.gateway_port, "GATEWAY_PORT")
            self._start(supervisor)
            self._play_demo(supervisor)
            supervisor.run()
        except Stopped:
            pass
        except (LaunchError, OSError) as error:
            if not self._stop:
                say(str(error))
                return 1
        finally:
            if self._stop:
                say("\nEnding…")
            supervisor.end_all(STOP_STEPS, STOP_SECONDS)
        say("Ended; everything is kept.")
        return 0

    def _start(self, supervisor: Supervisor) -> None:
        say("Starting…")
        env = self._start_servers(supervisor)
        environ = commands.child_environment(env, os.environ)
        house.write_exports(env.var_dir / "platform.env", env.as_environ())
        dev_env = str(env.var_dir / "dev.env")
        # The web processes load their code meanwhile; they say that they are ready when the tables are there.
        supervisor.start(commands.web(env, environ))
        supervisor.start(commands.gateway(env, environ))
        self._run_to_end(supervisor, commands.manage(env, environ, "migrate", "migrate", "--noinput"))
        self._run_to_end(
            supervisor, commands.manage(env, environ, "bootstrap", "bootstrap", "--env-file", dev_env)
        )
        house.refresh_endpoint(env)
        self._wait_until_ready(supervisor)
        for make in (commands.worker, commands.long_worker, commands.ticker, commands.dispatcher):
            supervisor.start(make(env, environ))
        self._show_banner()

    def _start_servers(self, supervisor: Supervisor) -> Env:
        """Start the embedded servers that the settings ask for; the settings with their addresses."""
        env = house.with_secrets(self._env)
        if not env.serving_engine_url:
            port = ports.free_port()
            environ = commands.engine_environment(env.serving_engine_token, os.environ)
            supervisor.start(commands.engine(env, port, environ))
            env = replace(env, serving_engine_url=f"http://{ports.LOOPBACK}:{port}")
        if not env.redis_url:
            env = replace(env, redis_url=supervisor.start(Broker(log=commands.log_of(env, "broker"))))
        if not env.database_url:
            postgres = Postgres(
                env.var_dir,
                source=env.postgres_source,
                max_connections=commands.connections_needed(env),
                give_up=lambda: bool(self._stop),
            )
            env = replace(env, database_url=supervisor.start(postgres))
        return env

    def _run_to_end(self, supervisor: Supervisor, child: Child) -> None:
        """Run one command. Raises LaunchError with the end of its log when it fails."""
        # Only this run's words: the log is shown when it fails, and bootstrap's holds a password.
        child.log.unlink(missing_ok=True)
        child.start()
        supervisor.wait(lambda: bool(child.ended()), READY_SECONDS * 5)
        if self._stop:
            child.stop()
            raise Stopped
        if not child.ended() or child.status:
            child.stop()
            said = "\n".join(last_lines(child.log))
            raise LaunchError(f"`{child.name}` failed; the end of {child.log} says why:\n{said}")
        if child.name == "bootstrap":
            child.log.unlink()

    def _wait_until_ready(self, supervisor: Supervisor) -> None:
        ready = supervisor.wait(self._is_ready, READY_SECONDS)
        if self._stop:
            raise Stopped
        if not ready:
            name, url = "portal", self._env.local_url
            if self._answers(url):
                name, url = "gateway", self._env.local_gateway_url
            log = commands.log_of(self._env, "web" if name == "portal" else name)
            said = "\n".join(last_lines(log))
            raise LaunchError(
                f"The {name} was not ready after {READY_SECONDS} s ({url}/readyz); the end of {log}:\n{said}"
            )

    def _is_ready(self) -> bool:
        return self._answers(self._env.local_url) and self._answers(self._env.local_gateway_url)

    def _answers(self, url: str) -> bool:
        host = next((name for name in self._env.allowed_hosts if name != "*"), "localhost").lstrip(".")
        connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=5)
        try:
            connection.request("GET", "/readyz", headers={"Host": host})
            return connection.getresponse().status == http.client.OK
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()

    def _show_banner(self) -> None:
        env = self._env
        access = house.read_exports(env.var_dir / "dev.env")
        say(f"\nThe platform is ready ({time.monotonic() - self._began:.1f} s).\n")
        say(f"  Portal    {env.public_url}")
        if access:
            kept = f"as set at first start, see {env.var_dir / 'dev.env'}"
            say(f"  Login     {access.get('PODSTACK_ADMIN_USER', 'admin')}")
            say(f"  Password  {access.get('PODSTACK_ADMIN_PASSWORD', kept) if self._first else kept}\n")
            for line in house.export_lines(house.sdk_exports(env)):
                say(f"  {line}")
        else:
            say("  The database has its accounts already: sign in, and make a token there for the SDK.")
        say(f"\n  Logs lie in {env.var_dir / 'logs'}. Ctrl-C ends everything.\n")

    def _play_demo(self, supervisor: Supervisor) -> None:
        if not demo.is_wanted(self._env):
            return
        say("Playing examples/integration.py, once (DEMO=0 leaves it out):\n")
        if failure := demo.play(self._env, supervisor.wait):
            say(f"\n{failure}\n")
        else:
            say("\nDone. The portal now shows a model that was trained, promoted and deployed.\n")


def say(line: str) -> None:
    """Show a line to the person at the terminal, who may have closed it."""
    try:
        print(line, flush=True)
    except OSError:
        return
