"""Where token, endpoint and project come from."""

from __future__ import annotations

from pathlib import Path

import pytest

from podstack import AuthenticationError, MLOpsClient, ValidationError
from tests.sdk.fake_server import TOKEN, FakeServer

CREDENTIALS = """
[default]
api_token = podstack_file_50%off
api_endpoint = https://file.example.com/api/v1/
project = from-file
[ci]
api_token = podstack_ci_secret
"""


def write_credentials(home: Path) -> None:
    (home / ".podstack").mkdir()
    (home / ".podstack" / "credentials").write_text(CREDENTIALS)


def test_arguments_come_before_environment_before_file(
    clean_environment: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_credentials(clean_environment)
    monkeypatch.setenv("PODSTACK_PROJECT", "from-env")
    monkeypatch.setenv("PODSTACK_API_TOKEN", "podstack_env_secret")
    settings = MLOpsClient(api_token="podstack_argument_secret").settings
    assert settings.api_token == "podstack_argument_secret"
    assert settings.project == "from-env"
    assert settings.endpoint == "https://file.example.com"


def test_a_profile_is_chosen_by_name(clean_environment: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_credentials(clean_environment)
    assert MLOpsClient().settings.api_token == "podstack_file_50%off"
    monkeypatch.setenv("PODSTACK_PROFILE", "ci")
    settings = MLOpsClient().settings
    assert (settings.api_token, settings.endpoint) == ("podstack_ci_secret", "http://127.0.0.1:8000")
    monkeypatch.setenv("PODSTACK_PROFILE", "nightly")
    with pytest.raises(ValidationError, match=r"no section \[nightly\]"):
        MLOpsClient()


def test_a_missing_token_says_where_to_get_one() -> None:
    with pytest.raises(AuthenticationError, match=r"portal.*PODSTACK_API_TOKEN"):
        MLOpsClient()


@pytest.mark.parametrize(
    "endpoint", ["registry.example.com", "ftp://x", "http://", "http://[::1", "http://h:x"]
)
def test_an_unusable_endpoint_is_told(endpoint: str) -> None:
    with pytest.raises(ValidationError, match="not an http"):
        MLOpsClient(TOKEN, endpoint)


def test_the_token_is_never_shown() -> None:
    client = MLOpsClient(TOKEN)
    assert "secret" not in repr(client) + repr(client.settings) + str(vars(client.http)["endpoint"])


def test_the_project_is_the_tokens_own_where_none_is_named(server: FakeServer) -> None:
    server.stored["me"] = {"user": {}, "token": {"project": "vision"}, "projects": [], "server": {}}
    client = MLOpsClient(TOKEN, server.url)
    assert client.project == client.project == "vision"
    assert len(server.requests("/me")) == 1


def test_a_choice_of_projects_is_listed(server: FakeServer) -> None:
    server.stored["me"] = {"token": {"project": None}, "projects": [{"slug": "a"}, {"slug": "b"}]}
    with pytest.raises(ValidationError, match=r"reaches a, b.*PODSTACK_PROJECT"):
        MLOpsClient(TOKEN, server.url).get_model("m")


def test_the_only_project_needs_no_name(server: FakeServer) -> None:
    server.stored["me"] = {"token": None, "projects": [{"slug": "vision", "role": "viewer"}]}
    assert MLOpsClient(TOKEN, server.url).project == "vision"
