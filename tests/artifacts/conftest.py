"""Stores to test on: a folder, a real S3 server and one that speaks Azure's protocol."""

from __future__ import annotations

import base64
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.test import override_settings

from artifacts.store import AzureStore, BlobStore, S3Store, store_at
from launcher.ports import answers, free_port
from tests.artifacts.stores import KEYS

PORTS = [f"{name}.port{kind}" for name in ("master", "volume", "filer", "s3") for kind in ("", ".grpc")]
AZURE_KEY = base64.b64encode(b"a key of the tests alone").decode()
CLOUDS = ["s3_url", "azure_url"]


@pytest.fixture
def own_store(settings: Any, tmp_path: Path) -> None:
    """An empty store, for tests that look at all that is stored."""
    settings.STORAGE_URL = tmp_path.as_uri()


@pytest.fixture(scope="module")
def s3_url() -> Iterator[str]:
    """A bucket on an S3 server of its own, with keys in the environment."""
    folder = Path(tempfile.mkdtemp(prefix="s3-"))
    ports = {name: free_port() for name in PORTS}
    identity = {
        "name": "tests",
        "credentials": [{"accessKey": "key", "secretKey": "secret"}],
        "actions": ["Admin", "Read", "Write", "List"],
    }
    (folder / "s3.json").write_text(json.dumps({"identities": [identity]}))
    program = shutil.which(
        "weed", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    )
    assert program, "weed is missing: install requirements/dev.txt"
    command = [program, "server", f"-dir={folder}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-s3"]
    command += [
        f"-s3.config={folder / 's3.json'}",
        "-master.volumeSizeLimitMB=256",
        "-s3.port.iceberg=0",
        "-s3.port.lance=0",
    ]
    command += [f"-{name}={port}" for name, port in ports.items()]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, cwd=folder, stdout=log, stderr=subprocess.STDOUT)
    try:
        with pytest.MonkeyPatch.context() as patch:
            for name, value in KEYS.items():
                patch.setenv(name, value)
            url = f"s3://blobs/some/prefix?endpoint_url=http://127.0.0.1:{ports['s3.port']}&region=us-east-1"
            _make_bucket(url, folder / "log")
            yield url
    finally:
        process.kill()
        process.wait()
        shutil.rmtree(folder, ignore_errors=True)


def _make_bucket(url: str, log: Path) -> None:
    store = store_at(url)
    assert isinstance(store, S3Store)
    deadline = time.monotonic() + 60
    while True:
        try:
            store.client.create_bucket(Bucket=store.bucket)
            store.client.put_object(Bucket=store.bucket, Key="probe", Body=b"probe")
            return
        except Exception as error:
            if time.monotonic() > deadline:
                raise AssertionError(log.read_text()[-2000:]) from error
            time.sleep(0.2)


@pytest.fixture(scope="module")
def azure_url() -> Iterator[str]:
    """A container on a server that speaks Azure's protocol, its connection string in the settings."""
    program = Path(__file__).parents[1] / "azurite" / "node_modules" / ".bin" / "azurite-blob"
    assert program.exists(), "azurite is missing: `make test` installs it, or `npm ci --prefix tests/azurite`"
    folder, port = Path(tempfile.mkdtemp(prefix="azure-")), free_port()
    command = [str(program), "--blobPort", str(port), "--location", str(folder), "--skipApiVersionCheck"]
    search = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [*command, "--disableTelemetry"],
            stdout=log,
            stderr=log,
            env={"PATH": search, "AZURITE_ACCOUNTS": f"team:{AZURE_KEY}"},
            start_new_session=True,
        )
    address = f"http://127.0.0.1:{port}/team"
    try:
        with override_settings(
            AZURE_STORAGE_CONNECTION_STRING="DefaultEndpointsProtocol=http;AccountName=team;"
            f"AccountKey={AZURE_KEY};BlobEndpoint={address};"
        ):
            _listens(port, folder / "log")
            _make_container("azure://blobs/some/prefix", folder / "log")
            yield "azure://blobs/some/prefix"
    finally:
        os.killpg(process.pid, signal.SIGKILL)  # the program of that name starts the server as its child
        process.wait()
        store_at.cache_clear()
        shutil.rmtree(folder, ignore_errors=True)


def _listens(port: int, log: Path) -> None:
    """Waits for the server before a client of theirs does, which would wait longer and longer between its tries."""
    deadline = time.monotonic() + 60
    while not answers(port):
        assert time.monotonic() < deadline, log.read_text()[-2000:]
        time.sleep(0.1)


def _make_container(url: str, log: Path) -> None:
    store = store_at(url)
    assert isinstance(store, AzureStore)
    deadline = time.monotonic() + 60
    while True:
        try:
            store.client.create_container()
            return
        except Exception as error:
            if time.monotonic() > deadline:
                raise AssertionError(log.read_text()[-2000:]) from error
            time.sleep(0.2)


@pytest.fixture(params=CLOUDS)
def cloud_url(request: pytest.FixtureRequest) -> str:
    return str(request.getfixturevalue(request.param))


@pytest.fixture(params=["folder", *(pytest.param(cloud, marks=pytest.mark.slow) for cloud in CLOUDS)])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> BlobStore:
    if request.param in CLOUDS:
        return store_at(request.getfixturevalue(request.param))
    return store_at((tmp_path / "a folder" / "blobs").as_uri())
