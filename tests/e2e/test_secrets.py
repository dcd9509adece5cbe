"""What must stay secret: neither logs, answers, pages and audit rows nor serving processes hold it."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import requests

from tests.e2e.conftest import Platform
from tests.e2e.test_faults import an_iris_version

pytestmark = pytest.mark.slow


def environment_of(pid: int) -> dict[str, str]:
    pairs = Path(f"/proc/{pid}/environ").read_bytes().decode(errors="replace").split("\0")
    return dict(pair.split("=", 1) for pair in pairs if "=" in pair)


def secrets_of(platform: Platform) -> dict[str, str]:
    """By what they are; each at least eight characters, so that a find is no accident."""
    found = {
        "API token": platform.token,
        "part of the API token": platform.token.split("_", 2)[2],
        "admin's password": platform.env["PODSTACK_ADMIN_PASSWORD"],
        "secret key": (platform.var / "secret_key").read_text().strip(),
        "serving engine's token": (platform.var / "serving_token").read_text().strip(),
    }
    assert all(len(text) >= 8 for text in found.values())
    return found


def test_no_secret_is_in_a_log_an_answer_a_page_or_a_serving_process(
    platform: Platform, tmp_path: Path
) -> None:
    client = platform.client()
    version = an_iris_version(platform, tmp_path, "secretive")
    deployment = client.deploy_model("secretive", version, "secretive").wait()
    deployment.predict([[5.1, 3.5, 1.4, 0.2]])
    secrets = secrets_of(platform)
    serving = platform.processes("serving.spawn", "secretive")
    assert serving
    for pid in serving:
        environment = environment_of(pid)
        for what, text in secrets.items():
            assert text not in str(environment), what
        assert not [
            name for name in environment if re.search("SECRET|DATABASE|REDIS|TOKEN|AWS|PODSTACK", name)
        ]
        serving_key = environment["SERVING_KEY"]
    secrets["serving key"] = serving_key
    seen = provoked(platform)
    for path in (platform.var / "logs").rglob("*"):
        if path.is_file():
            seen[path.name] = path.read_text(errors="replace")
    assert {"web.log", "worker.log", "engine.log"} <= set(seen)
    for name, text in seen.items():
        for what, secret in secrets.items():
            assert secret not in text, f"{what} in {name}"


def provoked(platform: Platform) -> dict[str, str]:
    """Answers of all kinds to somebody who has the token: errors, lists, pages, the audit trail."""
    base = f"/api/v1/projects/{platform.env['PODSTACK_PROJECT']}"
    headers = {"Authorization": f"Bearer {platform.token}"}
    password = platform.env["PODSTACK_ADMIN_PASSWORD"]
    browser = requests.Session()
    page = browser.get(f"{platform.url}/account/login/")
    form = {
        "login": platform.env["PODSTACK_ADMIN_USER"],
        "password": f"{password}x",
        "csrfmiddlewaretoken": browser.cookies["csrftoken"],
    }
    seen = {
        "login page": page.text,
        "refused": browser.post(f"{platform.url}/account/login/", data=form).text,
    }
    form |= {"password": password, "csrfmiddlewaretoken": browser.cookies["csrftoken"]}
    assert browser.post(f"{platform.url}/account/login/", data=form).status_code == 200
    for path in (
        "/",
        "/admin/accounts/apitoken/",
        "/admin/accounts/auditentry/",
        "/admin/common/job/",
        "/nowhere",
    ):
        seen[path] = browser.get(platform.url + path).text
    for path in (
        *(
            "/api/v1/me",
            f"{base}/audit?page_size=500",
            f"{base}/tokens",
            f"{base}/members",
            f"{base}/deployments",
        ),
        *(f"{base}/deployments/secretive", f"{base}/deployments/secretive/events", f"{base}/nothing"),
        *(f"{base}/deployments/secretive/logs", f"{base}/models?nonsense=1", "/api/schema/"),
    ):
        seen[path] = requests.get(platform.url + path, headers=headers).text
    wrong = {"Authorization": f"Bearer {platform.token}x", "Host": "evil.example"}
    seen["wrong token"] = requests.get(f"{platform.url}/api/v1/me", headers=wrong).text
    broken = requests.post(
        f"{platform.url}{base}/models", data=json.dumps(platform.token)[:-1], headers=headers
    )
    seen["broken body"] = broken.text
    bad_rows = requests.post(
        platform.client().get_deployment("secretive").endpoint_url,
        json={"instances": "x"},
        headers=headers,
    )
    seen["bad rows"] = bad_rows.text
    return seen
