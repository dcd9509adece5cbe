"""The servers that the tests run on: PostgreSQL and the broker, once for the whole session.

The first process (xdist's controller) starts them before Django reads its settings, the workers inherit
their addresses, and the first process ends them, whatever happens. TEST_DATABASE_URL and TEST_REDIS_URL name
servers to use instead; POSTGRES_SOURCE=system or wheel chooses the programs. DJANGO_SETTINGS_MODULE is set
here and must stay out of pytest's configuration, or pytest-django reads the settings before all this.
"""

from __future__ import annotations

import atexit
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))

from config.env import NAMES  # noqa: E402
from launcher.broker import Broker  # noqa: E402
from launcher.postgres import Postgres  # noqa: E402
from tests import databases  # noqa: E402

# These rooms know no Django: when only they are asked for, neither servers nor Django are started.
WITHOUT_DJANGO = tuple(ROOT / "tests" / name for name in ("launcher", "sdk", "serving"))
KEPT = ("POSTGRES_SOURCE", "LOG_LEVEL")
STARTED = "PODSTACK_TEST_SERVERS"
WORKER = os.environ.get("PYTEST_XDIST_WORKER", "")


def _needs_django(words: list[str]) -> bool:
    paths = [Path(word.partition("::")[0]).resolve() for word in words if not word.startswith("-")]
    paths = [path for path in paths if path.exists()]
    plain = [any(path.is_relative_to(room) for room in WITHOUT_DJANGO) for path in paths]
    return not plain or not all(plain)


def _start_servers(var_dir: Path) -> None:
    """Start what the tests need and say in the environment where it is."""
    for name in NAMES:
        if name not in KEPT:
            os.environ.pop(name, None)
    var_dir.chmod(0o711)  # PostgreSQL runs as an account of its own when the tests run as root
    atexit.register(shutil.rmtree, var_dir, ignore_errors=True)
    database_url, redis_url = os.environ.get("TEST_DATABASE_URL"), os.environ.get("TEST_REDIS_URL")
    if not database_url:
        source = os.environ.get("POSTGRES_SOURCE") or "auto"
        postgres = Postgres(var_dir, source=source, durable=False, max_connections=300)
        atexit.register(postgres.destroy)
        database_url = postgres.start()
    if not redis_url:
        broker = Broker(log=var_dir / "logs" / "broker.log")
        atexit.register(broker.stop)
        redis_url = broker.start()
    os.environ |= {
        "DATABASE_URL": database_url,
        "REDIS_URL": redis_url,
        "VAR_DIR": str(var_dir),
        "SECRET_KEY": "only-for-tests-" + "x" * 40,
        databases.FOLDER: str(var_dir),
        STARTED: "1",
    }
    if "TEST_DATABASE_URL" in os.environ:
        atexit.register(databases.forget)


def _take_own_share(worker: str) -> None:
    """A worker of xdist: own folder and own broker database; pytest-django gives it an own database."""
    number = int(worker.removeprefix("gw"))
    os.environ["REDIS_URL"] = os.environ["REDIS_URL"].rsplit("/", 1)[0] + f"/{number + 1}"
    var_dir = Path(os.environ["VAR_DIR"]) / worker
    var_dir.mkdir(mode=0o700, exist_ok=True)
    os.environ["VAR_DIR"] = str(var_dir)


def _set_up_django() -> None:
    from django.conf import settings

    if settings.configured:
        raise pytest.UsageError(
            "Take DJANGO_SETTINGS_MODULE out of pytest's configuration: tests/conftest.py sets it."
        )
    os.environ["DJANGO_SETTINGS_MODULE"] = "config.settings"
    import django

    django.setup()
    # A client of a test loads the middleware anew, and WhiteNoise would list every static file each time.
    settings.WHITENOISE_AUTOREFRESH = True
    from django.test import TransactionTestCase

    TransactionTestCase._fixture_teardown = _empty_tables  # type: ignore[method-assign]


def _empty_tables(case: object) -> None:
    """What Django does after a test that commits, without writing all content types and permissions anew.

    That takes three times as long as the rest.
    """
    from django.core.management.color import no_style
    from django.db import connection

    kept = ("django_content_type", "auth_permission")
    tables = connection.introspection.django_table_names(only_existing=True, include_views=False)
    emptied = [table for table in tables if table not in kept]
    connection.ops.execute_sql_flush(connection.ops.sql_flush(no_style(), emptied))


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "slow: takes more than five seconds; left out by `make test-fast`")


@pytest.fixture(scope="session")
def django_db_modify_db_settings(django_db_modify_db_settings_parallel_suffix: None) -> None:
    """A worker's database is a copy of the one that was migrated once for all workers."""
    from django.db import connection

    if WORKER:
        connection.settings_dict["TEST"]["TEMPLATE"] = databases.migrated()


# These start many processes, and wait for them: one worker runs a group, one test after the other.
GROUPS = {
    "tests/e2e/test_approvals.py": "portal",
    "tests/e2e/test_portal": "portal",
    "tests/e2e/test_procedures.py": "portal",
    "tests/e2e/": "platform",
    "tests/cluster/": "processes",
    "tests/deployments/engines/": "processes",
    "tests/launcher/": "processes",
    "tests/serving/test_faults.py": "processes",
}


@pytest.hookimpl(tryfirst=True)  # xdist reads the groups in the same hook
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Heavy tests are three groups; what stands in unproven.txt is run and told, and stops nothing."""
    lines = (ROOT / "tests" / "unproven.txt").read_text().splitlines()
    unproven = tuple(line for line in lines if line and not line.startswith("#"))
    for item in items:
        group = next((name for start, name in GROUPS.items() if item.nodeid.startswith(start)), "")
        if group:
            item.add_marker(pytest.mark.xdist_group(group))
        if item.nodeid.startswith(unproven):
            item.add_marker(pytest.mark.xfail(reason="named in tests/unproven.txt", strict=False))


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """Bytes are named by their argument: a zip or gzip made on import holds the time, and names must agree."""
    return argname if isinstance(val, bytes) else None


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_setupnodes() -> None:
    # A worker takes its own share first: with this, pytest-django would read the settings before that.
    os.environ.pop("DJANGO_SETTINGS_MODULE", None)
    if STARTED in os.environ:
        # The tables are made while the workers collect. What fails is told by the worker that asks for them.
        nobody = subprocess.DEVNULL
        subprocess.Popen([sys.executable, "-m", "tests.databases"], cwd=ROOT, stdout=nobody, stderr=nobody)


if WORKER:
    if STARTED in os.environ:
        _take_own_share(WORKER)
        _set_up_django()
elif _needs_django(sys.argv[1:]):
    _start_servers(Path(tempfile.mkdtemp(prefix="podstack-tests-")))
    _set_up_django()
