"""The engine and its serving processes, as real processes."""

from __future__ import annotations

import http.client
import json
import os
import resource
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import requests

from serving import account, processes, services
from serving.service import Service, Settings, Spec
from serving.services import Services
from tests.folders import open_to_others
from tests.serving import samples
from tests.serving.test_environments import wheel
from tests.waiting import until

ROOT = Path(__file__).resolve().parent.parent.parent
TOKEN = "token-of-the-test"
TELLING = """
import json, os
class Predictor:
    def load(self, path): pass
    def predict(self, rows):
        import resource
        core = resource.getrlimit(resource.RLIMIT_CORE)[0]
        return [{"env": sorted(os.environ), "core": core, "cwd": os.getcwd()}]
"""
SLOW = """
import time
class Predictor:
    def load(self, path): pass
    def predict(self, rows):
        time.sleep(rows[0]); return rows
"""


class Engine:
    """An engine process and calls on its control API."""

    def __init__(self, state_dir: Path, **environ: str) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        self.state_dir = state_dir
        secrets = {"SERVING_ENGINE_TOKEN": TOKEN, "DATABASE_URL": "postgres://secret", "SECRET_KEY": "secret"}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "serving.engine", "--port", str(self.port), "--state-dir", str(state_dir)],
            env={**os.environ, **secrets, **environ},
            cwd=ROOT,
        )
        self.session = requests.Session()
        self.session.headers["Authorization"] = f"Bearer {TOKEN}"
        until(self._lives, 20)

    def _lives(self) -> bool:
        try:
            return requests.get(self.url("/livez"), timeout=5).status_code == 200
        except requests.ConnectionError:
            return False

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.port}{path}"

    def put(self, name: str, folder: Path, replicas: int = 1, **more: Any) -> requests.Response:
        names = {"endpoint_name": "iris-api", "model_name": "iris", "model_version": "3"}
        body = {"model_dir": str(folder), "replicas": replicas, **names, **more}
        return self.session.put(self.url(f"/services/{name}"), json=body, timeout=10)

    def get(self, name: str) -> dict[str, Any]:
        answer: dict[str, Any] = self.session.get(self.url(f"/services/{name}"), timeout=10).json()
        return answer

    def settled(self, name: str) -> dict[str, Any]:
        until(lambda: self.get(name)["state"] != "starting", 90)
        return self.get(name)

    def delete(self, name: str) -> None:
        assert self.session.delete(self.url(f"/services/{name}"), timeout=10).status_code == 202
        until(lambda: self.get(name).get("status") == 404, 20)

    def end(self) -> None:
        if self.process.poll() is None:
            self.process.terminate()
        self.process.wait(30)


def ask(service: dict[str, Any], rows: Any, timeout: float = 20) -> requests.Response:
    headers = {"X-Serving-Key": service["key"]}
    return requests.post(
        service["address"] + "/predict", json={"instances": rows}, headers=headers, timeout=timeout
    )


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    wheels = tmp_path_factory.mktemp("wheels")
    wheel(wheels)
    index = {
        f"{tool}_{name}": value
        for tool in ("UV", "PIP")
        for name, value in (("FIND_LINKS", str(wheels)), ("NO_INDEX", "1"))
    }
    one = Engine(tmp_path_factory.mktemp("engine"), SERVING_LOAD_TIMEOUT="60", **index)
    yield one
    one.end()


@pytest.fixture
def summing(tmp_path: Path) -> Path:
    return samples.folder(tmp_path / "summing", predictor__py=samples.PREDICTOR)


def _predictor(path: Path, code: str) -> Path:
    return samples.folder(path / "m", predictor__py=code)


def test_a_model_is_served_from_put_to_delete(engine: Engine, tmp_path: Path) -> None:
    folder = samples.folder(tmp_path / "m", model__joblib=samples.joblib_bytes(samples.iris(), 3))
    assert engine.put("iris", folder, replicas=2).status_code == 201
    service = engine.settled("iris")
    assert (service["state"], service["replicas"], service["reason"]) == ("ready", 2, "")
    assert ask(service, [[5.1, 3.5, 1.4, 0.2]]).json() == {"predictions": [0]}
    lines = engine.session.get(engine.url("/services/iris/logs?tail=50"), timeout=5).json()["lines"]
    assert any("Booting worker" in line for line in lines)
    engine.delete("iris")
    assert processes.members(service["pid"], None) == []
    with pytest.raises(requests.ConnectionError):
        ask(service, [[1, 2, 3, 4]])


def test_the_log_of_a_service_that_ended_is_read_until_it_is_old(tmp_path: Path, summing: Path) -> None:
    (tmp_path / "engine" / "logs").mkdir(parents=True)
    old = tmp_path / "engine" / "logs" / "old.log"
    old.write_text("long ago\n")
    os.utime(old, (time.time() - 8 * 86400,) * 2)
    engine = Engine(tmp_path / "engine")
    engine.put("brief", summing)
    engine.settled("brief")
    engine.delete("brief")

    def logs(name: str) -> requests.Response:
        return engine.session.get(engine.url(f"/services/{name}/logs?tail=50"), timeout=5)

    assert any("Booting worker" in line for line in logs("brief").json()["lines"])
    assert logs("old").status_code == logs("nobody").status_code == 404
    assert not old.exists()
    engine.end()


def test_logs_are_kept_for_as_long_as_the_setting_says_and_those_in_use_for_ever(
    tmp_path: Path, summing: Path
) -> None:
    logs = tmp_path / "engine" / "logs"
    logs.mkdir(parents=True)
    for name, ago in (("old", 200), ("young", 50)):
        (logs / f"{name}.log").write_text("It was loaded.\n")
        os.utime(logs / f"{name}.log", (time.time() - ago,) * 2)
    engine = Engine(tmp_path / "engine", SERVING_LOGS_KEEP="100")
    until(lambda: not (logs / "old.log").exists(), 10)
    assert (logs / "young.log").exists()
    engine.end()

    engine = Engine(tmp_path / "engine", SERVING_LOGS_KEEP="2")
    engine.put("quiet", summing)
    service = engine.settled("quiet")
    until(lambda: not (logs / "young.log").exists(), 10)
    silent = time.monotonic() + 4
    while time.monotonic() < silent:
        assert time.time() - (logs / "quiet.log").stat().st_mtime < 2, "another engine would remove it"
        time.sleep(0.1)
    assert ask(service, [[1, 2]]).status_code == 200
    engine.delete("quiet")
    until(lambda: not (logs / "quiet.log").exists(), 10)
    answer = engine.session.get(engine.url("/services/quiet/logs?tail=50"), timeout=5)
    assert answer.status_code == 404
    engine.end()


def test_put_is_idempotent_and_refuses_another_body_for_a_living_service(
    engine: Engine, summing: Path
) -> None:
    assert engine.put("twice", summing).status_code == 201
    first = engine.settled("twice")
    assert engine.put("twice", summing).status_code == 200 and engine.get("twice") == first
    refused = engine.put("twice", summing, model_version="4")
    assert refused.status_code == 409 and "other settings" in refused.json()["detail"]
    engine.delete("twice")


def test_strangers_who_hold_connections_keep_nobody_from_the_engine(engine: Engine, summing: Path) -> None:
    """Whoever is on this machine may connect, a model's own code too; here the engine has fewer files than they open."""
    pid = engine.process.pid
    usual = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (200, usual[1]))
    with ExitStack() as held:
        held.callback(resource.prlimit, pid, resource.RLIMIT_NOFILE, usual)
        for number in range(500):
            link = held.enter_context(socket.create_connection(("127.0.0.1", engine.port), 5))
            link.sendall(b"GET /services HTTP/1.1\r\n" if number % 2 else b"")
        known = http.client.HTTPConnection("127.0.0.1", engine.port, timeout=10)
        for _ in range(2):
            known.request("GET", "/services", headers={"Authorization": f"Bearer {TOKEN}"})
            with known.getresponse() as answer:
                assert answer.status == 200 and answer.read()
            kept = known.sock
            for _ in range(100):
                held.enter_context(socket.create_connection(("127.0.0.1", engine.port), 5))
        assert known.sock is kept, "who has shown the token keeps its connection"
        known.close()
        engine.put("busy", summing)
        assert engine.settled("busy")["state"] == "ready"
        engine.delete("busy")


def test_parallel_puts_start_one_process_group(engine: Engine, summing: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: engine.put("race", summing), range(8)))
    assert sorted(answer.status_code for answer in answers) == [200] * 7 + [201]
    assert len({answer.json()["key"] for answer in answers}) == 1
    assert engine.settled("race")["state"] == "ready"
    engine.delete("race")


@pytest.mark.parametrize(
    ("code", "sentence"),
    [
        ("import nowhere_at_all", "needs the package 'nowhere_at_all'"),
        ("import sys; sys.exit(5)", "ended its process while loading: SystemExit: 5"),
        ("import os; os._exit(7)", "by force"),
        ("import os; os._exit(3)", "exited with code 3 while it loaded the model"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", "perhaps for lack of memory"),
        ("x = bytearray(1 << 50)", "needs more memory to load"),
    ],
)
def test_a_model_that_cannot_be_loaded_fails_with_a_sentence(
    engine: Engine, tmp_path: Path, code: str, sentence: str
) -> None:
    engine.put("bad", _predictor(tmp_path, code))
    service = engine.settled("bad")
    assert service["state"] == "failed" and sentence in service["reason"]
    assert service["reason"].endswith(".")
    assert processes.members(service["pid"], None) == []
    engine.delete("bad")


def test_a_version_gets_the_packages_that_it_names(engine: Engine, tmp_path: Path) -> None:
    code = samples.PREDICTOR.replace("class", "import tinypack\nclass").replace("sum(row)", "tinypack.VALUE")
    folder = samples.folder(tmp_path / "m", predictor__py=code, requirements__txt="tinypack==1.0")
    engine.put("own", folder)
    service = engine.settled("own")
    assert service["state"] == "ready", service["reason"]
    assert ask(service, [[1]]).json() == {"predictions": ["1.0"]}
    engine.put("none", samples.folder(tmp_path / "n", predictor__py=code, requirements__txt="tinypack==2.0"))
    failed = engine.settled("none")
    assert failed["state"] == "failed" and "could not be installed" in failed["reason"]
    lines = engine.session.get(engine.url("/services/none/logs"), timeout=5).json()["lines"]
    assert any("tinypack" in line for line in lines)
    engine.delete("own")
    engine.delete("none")


def test_a_failed_service_starts_anew_when_put_again(engine: Engine, tmp_path: Path, summing: Path) -> None:
    engine.put("again", _predictor(tmp_path, "1/0"))
    assert engine.settled("again")["state"] == "failed"
    assert engine.put("again", summing).status_code == 201
    assert engine.settled("again")["state"] == "ready"
    engine.delete("again")


def test_a_state_dict_fails_with_the_sentence_that_says_what_is_missing(
    engine: Engine, tmp_path: Path
) -> None:
    engine.put("dict", samples.folder(tmp_path / "m", model__pt=samples.torch_state_dict()))
    service = engine.settled("dict")
    assert service["state"] == "failed" and service["reason"].startswith(
        "'model.pt' holds only a torch state_dict"
    )
    engine.delete("dict")


def test_a_killed_worker_comes_back_and_a_killed_master_fails_the_service(
    engine: Engine, summing: Path
) -> None:
    engine.put("kill", summing)
    service = engine.settled("kill")
    (worker,) = [pid for pid in processes.members(service["pid"], None) if pid != service["pid"]]
    os.kill(worker, signal.SIGKILL)
    assert ask(service, [[1, 2]]).json() == {"predictions": [3]}
    assert engine.get("kill")["state"] == "ready"
    os.kill(service["pid"], signal.SIGKILL)
    until(lambda: engine.get("kill")["state"] == "failed", 5)
    assert "ended by force while it served" in engine.get("kill")["reason"]
    assert processes.members(service["pid"], None) == []
    engine.delete("kill")


def test_serving_processes_carry_no_secret_and_leave_no_core(engine: Engine, tmp_path: Path) -> None:
    engine.put("env", _predictor(tmp_path, TELLING))
    service = engine.settled("env")
    (said,) = ask(service, [[1]]).json()["predictions"]
    assert not {"DATABASE_URL", "SECRET_KEY", "SERVING_ENGINE_TOKEN", "SERVING_KEY"} & set(said["env"])
    assert said["core"] == 0 and said["cwd"] == str(engine.state_dir / "run" / "env")
    cmdline = Path(f"/proc/{service['pid']}/cmdline").read_text()
    assert service["key"] not in cmdline and TOKEN not in cmdline
    engine.delete("env")


def test_a_running_request_is_finished_before_the_service_ends(engine: Engine, tmp_path: Path) -> None:
    engine.put("slow", _predictor(tmp_path, SLOW))
    service = engine.settled("slow")
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(ask, service, [1.5])
        time.sleep(0.4)
        engine.delete("slow")
        assert running.result().json() == {"predictions": [1.5]}


def test_a_long_request_is_finished_and_an_idle_service_ends_at_once(engine: Engine, tmp_path: Path) -> None:
    engine.put("long", _predictor(tmp_path, SLOW))
    service = engine.settled("long")
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(ask, service, [12])
        time.sleep(0.4)
        assert engine.session.delete(engine.url("/services/long"), timeout=10).status_code == 202
        assert running.result().json() == {"predictions": [12]}
    until(lambda: engine.get("long").get("status") == 404, 10)

    engine.put("idle", _predictor(tmp_path, SLOW))
    service = engine.settled("idle")
    waits = requests.Session()  # as the gateway keeps its connections
    waits.headers["X-Serving-Key"] = service["key"]
    assert waits.get(f"{service['address']}/v2/health/ready", timeout=5).status_code == 200
    began = time.monotonic()
    engine.delete("idle")
    assert time.monotonic() - began < 6


def test_small_answers_are_not_held_back(engine: Engine, summing: Path) -> None:
    engine.put("quick", summing)
    service = engine.settled("quick")
    client = http.client.HTTPConnection(service["address"].removeprefix("http://"))
    took = []
    for _ in range(30):
        began = time.perf_counter()
        client.request("POST", "/predict", b'{"instances": [[1, 2]]}', {"X-Serving-Key": service["key"]})
        client.getresponse().read()
        took.append(time.perf_counter() - began)
    # What TCP holds back takes 0.04 s each time, what a busy machine holds back does so at times.
    assert sorted(took)[5] < 0.03
    engine.delete("quick")


def test_the_control_api_is_closed_without_its_token(engine: Engine) -> None:
    for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": "Bearer \xff"}):
        assert requests.get(engine.url("/services"), headers=headers, timeout=5).status_code == 401
    assert requests.get(engine.url("/livez"), timeout=5).status_code == 200


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"model_dir": "relative"}, "model_dir"),
        ({"model_dir": "/no/such/folder"}, "model_dir"),
        ({"replicas": 0}, "replicas"),
        ({"replicas": "2"}, "replicas"),
        ({"endpoint_name": ""}, "endpoint_name"),
        ({"command": "id"}, "command"),
    ],
)
def test_a_bad_put_names_the_field(
    engine: Engine, tmp_path: Path, change: dict[str, Any], field: str
) -> None:
    answer = engine.put("x", **{"folder": tmp_path, **change})
    assert answer.status_code == 400 and field in answer.json()["detail"]
    assert engine.put("..%2fx", tmp_path).status_code in (400, 404)
    assert engine.get("nobody")["status"] == 404


def test_a_model_folder_that_others_cannot_read_is_told(tmp_path: Path) -> None:
    folder = samples.folder(tmp_path / "m", model__txt="x")
    tmp_path.chmod(0o700)
    assert not account.others_can_read(folder)
    assert account.free([account.FIRST]) == account.FIRST + 1


def test_a_load_that_takes_too_long_fails(tmp_path: Path, summing: Path) -> None:
    engine = Engine(tmp_path / "engine", SERVING_LOAD_TIMEOUT="1")
    engine.put("long", _predictor(tmp_path, "import time; time.sleep(60)"))
    service = engine.settled("long")
    assert service["reason"].startswith("The model was not loaded within 1 seconds")
    engine.end()


def test_sigterm_ends_every_process(tmp_path: Path, summing: Path) -> None:
    engine = Engine(tmp_path / "engine")
    engine.put("a", summing, replicas=2)
    service = engine.settled("a")
    engine.process.send_signal(signal.SIGTERM)
    assert engine.process.wait(15) == 0
    assert processes.members(service["pid"], None) == []


def test_a_killed_engine_leaves_no_serving_process(tmp_path: Path, summing: Path) -> None:
    engine = Engine(tmp_path / "engine")
    engine.put("a", summing, replicas=2)
    engine.put("b", _predictor(tmp_path, "import time; time.sleep(60)"))
    ready = engine.settled("a")
    until(lambda: bool(engine.get("b")["pid"]), 20)
    loading = engine.get("b")
    engine.process.kill()
    engine.process.wait()
    until(lambda: not processes.members(ready["pid"], None) + processes.members(loading["pid"], None), 5)


def test_a_new_engine_ends_what_its_predecessor_left(tmp_path: Path) -> None:
    stray = subprocess.Popen(["sleep", "60"], start_new_session=True)
    other = subprocess.Popen(["sleep", "60"], start_new_session=True)
    start = processes.start_time(stray.pid)
    rows = [
        {"pid": stray.pid, "start": start, "uid": None},
        {"pid": other.pid, "start": 1, "uid": None},
    ]
    state = samples.folder(tmp_path / "engine")
    (state / "services.json").write_text(json.dumps({"boot": processes.boot_id(), "services": rows}))
    threading.Thread(target=stray.wait, daemon=True).start()
    engine = Engine(state)
    assert engine.session.get(engine.url("/services"), timeout=5).json() == {"services": []}
    until(lambda: processes.start_time(stray.pid) is None, 5)
    assert other.poll() is None
    other.kill()
    other.wait()
    engine.end()


def test_two_engines_do_not_share_a_state_folder(tmp_path: Path) -> None:
    engine = Engine(tmp_path / "engine")
    second = subprocess.run(
        [sys.executable, "-m", "serving.engine", "--port", "1", "--state-dir", str(tmp_path / "engine")],
        env={**os.environ, "SERVING_ENGINE_TOKEN": TOKEN},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    assert second.returncode == 1 and "Another serving engine uses" in second.stderr
    engine.end()


@pytest.mark.parametrize(("host", "token"), [("0.0.0.0", TOKEN), ("127.0.0.1", "")])
def test_the_engine_refuses_an_open_address_and_an_empty_token(tmp_path: Path, host: str, token: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "serving.engine", "--host", host, "--port", "1", "--state-dir", str(tmp_path)],
        env={**os.environ, "SERVING_ENGINE_TOKEN": token},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    assert done.returncode == 1 and done.stderr.strip().endswith(".")


@pytest.fixture
def two_engines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Services]:
    """Two engines of one machine that give accounts, without their processes."""
    monkeypatch.setattr(account, "usable", lambda: "")
    open_to_others(tmp_path)
    return [Services(tmp_path / name, Settings()) for name in ("one", "two")]


def an_account(services: Services, folder: Path) -> int | None:
    spec = Spec(str(folder), 1, "iris-api", "iris", "3")
    return services._account_for(Service("a", spec, folder / "run", folder / "log"))


def test_no_account_is_given_that_a_process_has_whosever_it_is(
    two_engines: list[Services], summing: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(services, "ACCOUNTS", range(62000, 62002))
    monkeypatch.setattr(processes, "owners", lambda: {0, 62001})
    assert {an_account(one, summing) for one in two_engines * 10} == {62000}
    monkeypatch.setattr(processes, "owners", lambda: {0, 62000, 62001})
    with pytest.raises(OSError, match="all 2 accounts for serving processes are taken"):
        an_account(two_engines[0], summing)


def test_two_engines_that_look_at_once_hardly_give_the_same_account(
    two_engines: list[Services], summing: Path
) -> None:
    given = [tuple(an_account(one, summing) for one in two_engines) for _ in range(5)]
    assert any(first != second for first, second in given)
    assert all(account.FIRST <= uid <= account.LAST for pair in given for uid in pair if uid is not None)
    assert os.getuid() in processes.owners()
