"""Training code from a Git repository: a real one, fetched by the real program."""

from __future__ import annotations

import os
import subprocess
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from accounts.choices import Role
from accounts.models import AuditEntry
from artifacts.models import ManifestFile
from common.models import Job
from scheduling.choices import ExecutionState
from scheduling.models import TrainingCode
from scheduling.tasks import fetch_code
from tests.factories import Person, make_person, make_project, run_jobs
from tests.scheduling.factories import drive, make_code, make_experiment, make_schedule, trigger

pytestmark = pytest.mark.django_db(transaction=True)
COMMAND = ["python", "train.py"]


class Origin:
    """A repository that a person pushed to."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.git("init", "--quiet", "--initial-branch", "main")

    @property
    def url(self) -> str:
        return self.folder.as_uri()

    def git(self, *words: str) -> str:
        name = {"GIT_AUTHOR_NAME": "a", "GIT_AUTHOR_EMAIL": "a@example.com"}
        name |= {"GIT_COMMITTER_NAME": "a", "GIT_COMMITTER_EMAIL": "a@example.com"}
        done = subprocess.run(
            ["git", *words],
            cwd=self.folder,
            env=os.environ | name,
            capture_output=True,
            text=True,
            check=True,
        )
        return done.stdout.strip()

    def commit(self, **files: str) -> str:
        for name, content in files.items():
            path = self.folder / name.replace("__", "/")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content)
        self.git("add", "--all")
        self.git("commit", "--quiet", "--allow-empty", "--message", "x")
        return self.git("rev-parse", "HEAD")


@pytest.fixture
def origin(tmp_path: Path, settings: Any) -> Origin:
    folder = tmp_path / "origins" / "code"
    folder.mkdir(parents=True)
    settings.TRAINING_GIT_URLS = ((tmp_path / "origins").as_uri() + "/",)
    return Origin(folder)


@pytest.fixture
def ada(db: None) -> Person:
    return make_person(make_project())


def fetch(person: Person, origin: Origin | str, commit: str, **more: Any) -> Any:
    """The REST call; its response."""
    url = origin if isinstance(origin, str) else origin.url
    body = {"git_url": url, "git_commit": commit, "command": COMMAND, **more}
    path = f"{person.base}/experiments/{make_experiment(person)}/training-code"
    return person.api.post(path, body, format="json")


def newest(person: Person) -> TrainingCode:
    return TrainingCode.objects.filter(experiment__project=person.project).select_related("manifest")[0]


def paths(code: TrainingCode) -> list[str]:
    rows = ManifestFile.objects.filter(manifest=code.manifest).order_by("path")
    return list(rows.values_list("path", flat=True))


def test_a_commit_is_fetched_trained_with_and_named_by_the_run(ada: Person, origin: Origin) -> None:
    program = "import podstack\nwith podstack.MLOpsClient().start_run() as run: run.log_metric('a', 1)\n"
    first = origin.commit(**{"train.py": program})
    origin.commit(**{"train.py": "raise SystemExit('the wrong commit')"})
    answer = fetch(ada, origin, first)
    assert answer.status_code == 201, answer.data
    assert (answer.data["state"], answer.data["digest"]) == ("Fetching", None)
    run_jobs()
    code = newest(ada)
    assert (code.state, paths(code), code.git_commit) == ("Ready", ["train.py"], first)
    schedule = make_schedule(ada)
    execution = drive(trigger(ada, schedule))
    assert execution.state != ExecutionState.FAILED or "wrong commit" not in execution.reason
    assert execution.run is not None
    assert execution.run.code_version == first
    entry = AuditEntry.objects.get(verb="fetch_training_code")
    assert (entry.after["git_commit"], entry.after["number"]) == (first, 1)
    entry = AuditEntry.objects.get(verb="end_fetch")
    assert entry.actor is not None and entry.actor.username == "system"
    digest = code.manifest.digest if code.manifest else None
    assert entry.after == {"number": 1, "state": "Ready", "reason": "", "manifest": digest}


def test_code_is_fetched_once_the_storage_is_back(
    ada: Person, origin: Origin, settings: Any, tmp_path: Path
) -> None:
    settings.STORAGE_URL = (tmp_path / "blobs").as_uri()
    (tmp_path / "blobs").write_text("no folder")
    fetch(ada, origin, origin.commit(**{"train.py": "1"}))
    job = Job.objects.get(name="scheduling.fetch_code")
    fetch_code(job.pk)
    assert newest(ada).state == "Fetching"
    assert Job.objects.get(pk=job.pk).error == "The storage does not answer (Not a directory)."
    (tmp_path / "blobs").unlink()
    run_jobs()
    assert (newest(ada).state, newest(ada).reason) == ("Ready", "")


def test_only_the_folder_that_is_asked_for_comes(ada: Person, origin: Origin) -> None:
    commit = origin.commit(**{"README.md": "no", "wine__train.py": "1", "wine__deep__more.py": "2"})
    fetch(ada, origin, commit, git_path="wine")
    run_jobs()
    assert paths(newest(ada)) == ["deep/more.py", "train.py"]


def test_a_server_that_gives_no_single_commit_gives_its_history(
    ada: Person, origin: Origin, settings: Any, tmp_path: Path
) -> None:
    commit = origin.commit(**{"train.py": "1"})
    origin.commit(**{"train.py": "2"})
    origin.git("update-server-info")
    with plain_server(tmp_path / "origins") as address:
        settings.TRAINING_GIT_URLS = (address,)
        fetch(ada, f"{address}/code/.git", commit)
        run_jobs()
    assert (newest(ada).state, newest(ada).reason) == ("Ready", "")


class plain_server:
    """An HTTP server that gives out a folder and knows nothing of Git."""

    def __init__(self, folder: Path) -> None:
        handler = partial(SimpleHTTPRequestHandler, directory=str(folder))
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), handler)

    def __enter__(self) -> str:
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return f"http://127.0.0.1:{self.server.server_port}"

    def __exit__(self, *error: object) -> None:
        self.server.shutdown()
        self.server.server_close()


def test_the_same_again_makes_no_new_code_and_a_failed_one_is_tried_anew(ada: Person, origin: Origin) -> None:
    commit = origin.commit(**{"train.py": "1"})
    assert fetch(ada, origin, commit).data["number"] == fetch(ada, origin, commit).data["number"] == 1
    run_jobs()
    assert fetch(ada, origin, commit).data["number"] == 1
    assert fetch(ada, origin, "0" * 40).data["number"] == 2
    run_jobs()
    assert fetch(ada, origin, "0" * 40).data["number"] == 3


def test_what_cannot_be_fetched_says_why_and_the_older_code_goes_on(ada: Person, origin: Origin) -> None:
    make_code(ada)
    commit = origin.commit(**{"train.py": "1"})
    (origin.folder / "link.py").symlink_to("/etc/passwd")
    linked = origin.commit()
    for wanted, words, more in (
        ("0" * 40, "was not fetched", {}),
        (linked, "link.py is a link; training code holds files only", {}),
        (commit, "was not fetched", {"git_path": "nowhere"}),
        (origin.git("rev-parse", f"{commit}^{{tree}}"), "was not fetched", {}),
    ):
        assert fetch(ada, origin, wanted, **more).status_code == 201
        run_jobs()
        code = newest(ada)
        assert code.state == "Failed"
        assert words in code.reason
        assert code.manifest is None
        entry = AuditEntry.objects.filter(verb="end_fetch").latest("pk")
        assert (entry.after["number"], entry.after["reason"]) == (code.number, code.reason)
    refused = ada.api.post(
        f"{ada.base}/schedules",
        {"name": "n", "experiment_id": make_experiment(ada), "cron": "0 2 * * *", "code": code.number},
        format="json",
    )
    assert refused.status_code == 400
    assert "which is Failed" in refused.data["detail"]
    assert drive(trigger(ada, make_schedule(ada))).code.number == 1  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"git_url": "https://elsewhere.example.com/a/b"}, "git_url"),
        ({"git_url": "--upload-pack=touch /tmp/x"}, "git_url"),
        ({"git_url": "ext::sh -c true"}, "git_url"),
        ({"git_url": "{allowed}../secret"}, "git_url"),
        ({"git_url": "{allowed}%2e%2e/secret"}, "git_url"),
        ({"git_url": "{allowed_without_end}-of-others/code"}, "git_url"),
        ({"git_commit": "main"}, "git_commit"),
        ({"git_commit": "abc1234"}, "git_commit"),
        ({"git_commit": "--all"}, "git_commit"),
        ({"git_path": "../up"}, "git_path"),
        ({"command": []}, "command"),
        ({"files": {"a.py": "0" * 64}}, "files"),
    ],
)
def test_bad_input_names_its_field(
    body: dict[str, Any], field: str, ada: Person, origin: Origin, settings: Any
) -> None:
    allowed = settings.TRAINING_GIT_URLS[0]
    if "git_url" in body:
        body = {"git_url": body["git_url"].format(allowed=allowed, allowed_without_end=allowed.rstrip("/"))}
    path = f"{ada.base}/experiments/{make_experiment(ada)}/training-code"
    whole = {"git_url": origin.url, "git_commit": "0" * 40, "command": COMMAND, **body}
    refused = ada.api.post(path, whole, format="json")
    assert refused.status_code == 400, refused.data
    assert field in refused.data["errors"]
    assert not TrainingCode.objects.exists()


def test_where_no_operator_allows_it_nothing_is_fetched(ada: Person, origin: Origin, settings: Any) -> None:
    settings.TRAINING_GIT_URLS = ()
    refused = fetch(ada, origin, "0" * 40)
    assert refused.status_code == 400
    assert "TRAINING_GIT_URLS" in refused.data["detail"]


def test_what_an_operator_forbids_meanwhile_is_not_fetched(
    ada: Person, origin: Origin, settings: Any
) -> None:
    fetch(ada, origin, origin.commit(**{"train.py": "1"}))
    settings.TRAINING_GIT_URLS = ("https://git.example.com/",)
    run_jobs()
    assert (newest(ada).state, "must begin with https://git.example.com/" in newest(ada).reason) == (
        "Failed",
        True,
    )


def test_a_viewer_fetches_nothing(ada: Person, origin: Origin) -> None:
    viewer = make_person(ada.project, Role.VIEWER, username="vic")
    path = f"{ada.base}/experiments/{make_experiment(ada)}/training-code"
    body = {"git_url": origin.url, "git_commit": "0" * 40, "command": COMMAND}
    assert viewer.api.post(path, body, format="json").status_code == 403


def test_the_page_shows_the_code_and_fetches_more(ada: Person, origin: Origin, client: Any) -> None:
    client.force_login(ada.user)
    page = f"/projects/{ada.project.slug}/experiments/{make_experiment(ada)}"
    assert "No training code yet" in client.get(f"{page}/training-code/").content.decode()
    commit = origin.commit(**{"train.py": "1"})
    form = {"git_url": origin.url, "git_commit": "main", "git_path": "", "command": "python 'train.py' -v"}
    refused = client.post(f"{page}/fetch-code/", form)
    assert refused.status_code == 422
    assert "the full id of a commit" in refused.content.decode()
    assert client.post(f"{page}/fetch-code/", form | {"git_commit": commit}).status_code == 302
    assert "every 2s" in client.get(f"{page}/training-code/").content.decode()
    run_jobs()
    shown = client.get(f"{page}/training-code/").content.decode()
    assert commit in shown
    assert "every 2s" not in shown
    assert newest(ada).command == ["python", "train.py", "-v"]
    assert f"{page}/training-code/" in client.get(f"{page}/").content.decode()
