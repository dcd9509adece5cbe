"""config.env: defaults, derived values, and a sentence for each bad value."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest

from config.env import NAMES, ROOT, BadSetting, load
from config.page import as_markdown
from launcher.house import kept_secret

SIGNING_KEY = f"""-----BEGIN PRIVATE KEY-----
{base64.b64encode(bytes.fromhex("302e020100300506032b657004220420") + b"k" * 32).decode()}
-----END PRIVATE KEY-----"""


def test_defaults_are_the_embedded_platform_on_loopback() -> None:
    env = load({})
    assert (env.host, env.port, env.public_url) == ("127.0.0.1", 8000, "http://127.0.0.1:8000")
    assert (env.database_url, env.redis_url, env.secret_key) == ("", "", "")
    assert env.var_dir == ROOT / "var"
    assert env.storage_url == f"file://{ROOT}/var/blobs"
    assert (env.debug, env.demo, env.no_gpu) == (False, True, "cpu")
    assert env.allowed_hosts == ("localhost", "127.0.0.1", "[::1]")
    assert env.max_upload_bytes == 50 * 2**30


def test_an_empty_value_counts_as_not_set() -> None:
    assert load(dict.fromkeys(NAMES, "")) == load({})


def test_every_setting_is_a_field() -> None:
    assert {name.lower() for name in NAMES} == set(type(load({})).__dataclass_fields__)


def test_values_follow_from_others() -> None:
    env = load({"PUBLIC_URL": "https://models.example.com/", "HOST": "0.0.0.0", "PORT": "80"})
    assert env.public_url == "https://models.example.com"
    assert env.allowed_hosts[-1] == "models.example.com"
    assert env.local_url == "http://127.0.0.1:80"
    assert (env.gateway_port, env.gateway_url) == (81, "https://models.example.com")
    local = load({"HOST": "::1"})
    assert (local.public_url, local.gateway_url) == ("http://[::1]:8000", "http://[::1]:8001")
    assert load({"PUBLIC_URL": "http://a.example:8000"}).gateway_url == "http://a.example:8001"
    assert load({"GATEWAY_PORT": "9000"}).local_gateway_url == "http://127.0.0.1:9000"
    engine = {"SERVING_ENGINE_URL": "http://10.0.0.2:9000", "SERVING_ENGINE_TOKEN": "t" * 32}
    assert load(engine).no_gpu == "wait"
    assert load(engine | {"NO_GPU": "CPU"}).no_gpu == "cpu"
    assert load({"GPU_TYPES": "T4, A10,"}).gpu_types == ("T4", "A10")


def test_settings_as_text_give_the_same_settings() -> None:
    env = load(
        {
            "SERVING_ENGINE_URL": "http://127.0.0.1:99",
            "SERVING_ENGINE_TOKEN": "t" * 32,
            "NO_GPU": "cpu",
            "DEBUG": "yes",
            "GPU_TYPES": "T4,L4",
            "STORAGE_URL": "s3://bucket/prefix?endpoint_url=http://s3:9000&region=eu",
            "VAR_DIR": "elsewhere",
            "BUNDLE_SIGNING_KEY": SIGNING_KEY.replace("\n", "\\n"),
            "BUNDLE_TRUSTED_KEYS": f"{'A' * 43}=, {'B' * 43}=",
        }
    )
    assert load(env.as_environ()) == env
    assert env.var_dir == ROOT / "elsewhere"
    assert env.bundle_signing_key == SIGNING_KEY
    assert env.bundle_trusted_keys == (f"{'A' * 43}=", f"{'B' * 43}=")


BAD = [
    ("BUNDLE_SIGNING_KEY", "k" * 64, "an Ed25519 key"),
    ("BUNDLE_SIGNING_KEY", SIGNING_KEY.replace("M", "N", 1), "an Ed25519 key"),
    ("BUNDLE_TRUSTED_KEYS", "short", "public keys in base64"),
    ("HOST", "no host", "an IP address or a host name"),
    ("HOST", "1.2.3.456", "an IP address or a host name"),
    ("PORT", "0", "a whole number from 1 to 65535"),
    ("PORT", "８０", "a whole number"),
    ("DATABASE_URL", "sqlite:///x.db", "postgresql://user:password@host:5432/database"),
    ("DATABASE_URL", "postgresql://host", "postgresql://user:password@host:5432/database"),
    ("DATABASE_URL", "postgresql://host:port/x", "postgresql://user:password@host:5432/database"),
    ("REDIS_URL", "amqp://host", "redis://:password@host:6379/0"),
    ("STORAGE_URL", "ftp://bucket", "s3://bucket/prefix"),
    ("STORAGE_URL", "s3://bucket?secret=1", "s3://bucket/prefix"),
    ("STORAGE_URL", "file://relative/path", "file:///absolute/folder"),
    ("SECRET_KEY", "short", "at least 32 random characters"),
    ("PUBLIC_URL", "models.example.com", "an address such as https://models.example.com"),
    ("PUBLIC_URL", "https://models.example.com?x=1", "without a query"),
    ("ALLOWED_HOSTS", "a b", "host names with commas"),
    ("DEBUG", "maybe", "1 for yes or 0 for no"),
    ("WEB_WORKERS", "65", "from 1 to 64"),
    ("WEB_THREADS", "-1", "from 1 to 512"),
    ("WORKER_CONCURRENCY", "2.5", "from 1 to 256"),
    ("SERVING_ENGINE_TOKEN", "short", "at least 32 random characters"),
    ("SERVING_ENGINE_URL", "http://engine:9000", "needs SERVING_ENGINE_TOKEN"),
    ("NO_GPU", "maybe", "one of cpu, wait"),
    ("DOWNLOADS", "apache", "one of app, nginx, presign"),
    ("DOWNLOADS", "presign", "needs a bucket"),
    ("GPU_TYPES", "T4;A10", "names with commas"),
    ("LOG_LEVEL", "LOUD", "one of DEBUG, INFO"),
    ("MAX_UPLOAD_BYTES", "50GB", "a whole number"),
    ("POSTGRES_SOURCE", "docker", "one of auto, system, wheel"),
    ("AWS_ACCESS_KEY_ID", "AKIA", "set both or neither"),
    ("AZURE_STORAGE_CONNECTION_STRING", "AccountName=x", "belong together"),
    ("OIDC_CLIENT_ID", "registry", "set all or none"),
    ("OIDC_ISSUER", "id.example.com", "the provider's address"),
    ("OIDC_ISSUER", "http://id.example.com", "https://"),
]


@pytest.mark.parametrize(("name", "value", "right"), BAD)
def test_a_bad_value_is_told_in_a_sentence(name: str, value: str, right: str) -> None:
    with pytest.raises(BadSetting) as caught:
        load({name: value})
    (sentence,) = caught.value.sentences
    assert name in sentence
    assert right in sentence
    assert sentence.endswith(".")


def test_debug_is_refused_towards_the_network() -> None:
    for host in ("0.0.0.0", "::", "192.168.1.5", "build-host"):
        with pytest.raises(BadSetting, match=r"set DEBUG=0 or HOST=127\.0\.0\.1"):
            load({"DEBUG": "1", "HOST": host})
    for host in ("127.0.0.1", "::1", "localhost", "127.8.8.8"):
        assert load({"DEBUG": "1", "HOST": host}).debug


def test_all_bad_values_are_listed_and_no_secret_is_shown() -> None:
    with pytest.raises(BadSetting) as caught:
        load({"PORT": "x", "SECRET_KEY": "hunter2", "DATABASE_URL": "mysql://u:hunter2@h/x", "DEMO": "?"})
    assert len(caught.value.sentences) == 4
    assert "hunter2" not in str(caught.value)


def test_a_kept_secret_is_made_once_and_private(tmp_path: Path) -> None:
    secret = kept_secret(tmp_path / "key")
    assert kept_secret(tmp_path / "key") == secret
    assert len(secret) >= 48
    assert (tmp_path / "key").stat().st_mode & 0o777 == 0o600
    assert [path.name for path in tmp_path.iterdir()] == ["key"]


def test_the_page_of_settings_is_up_to_date() -> None:
    page = (ROOT / "docs" / "settings.md").read_text()
    assert page == as_markdown(), "Run `python -m config.page > docs/settings.md`."
