"""Signing in by a provider that runs as its own process, and with a second factor, in the browser."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pyotp
import pytest
import requests
from playwright.sync_api import Browser, Page, expect

from launcher.ports import free_port
from tests.e2e.conftest import Platform, another_platform
from tests.e2e.test_approvals import chromium, patient  # noqa: F401
from tests.e2e.test_portal import no_barrier

PAUL_HAS_AN_ADDRESS = """
from accounts.models import User
from accounts.services import confirm_address
paul = User.objects.get(username="paul")
paul.email = "paul@example.com"
paul.save()
confirm_address(paul)
"""
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def provider() -> Iterator[str]:
    """An OpenID Connect provider: who it is asked for is typed on its page."""
    port = free_port()
    program = Path(sys.executable).with_name("oidc-provider-mock")
    users = [
        '{"sub": "u-1", "preferred_username": "olga", "email": "olga@example.com", "email_verified": true}',
        '{"sub": "u-2", "preferred_username": "paul2", "email": "paul@example.com", "email_verified": true}',
        '{"sub": "u-3", "preferred_username": "eve", "email": "paul@example.com", "email_verified": false}',
    ]
    command = [
        str(program),
        "--port",
        str(port),
        *(word for user in users for word in ("--user-claims", user)),
    ]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    issuer = f"http://localhost:{port}"
    try:
        deadline = time.monotonic() + 120
        while True:
            try:
                if requests.get(f"{issuer}/.well-known/openid-configuration", timeout=2).ok:
                    break
            except requests.RequestException:
                assert time.monotonic() < deadline
            time.sleep(0.1)
        yield issuer
    finally:
        process.kill()
        process.wait()


@pytest.fixture(scope="module")
def house(provider: str) -> Iterator[Platform]:
    """A platform of its own that knows the provider, with paul in it, and nobody else."""
    with another_platform(
        OIDC_ISSUER=provider,
        OIDC_CLIENT_ID="registry",
        OIDC_CLIENT_SECRET="a secret of the client",
        OIDC_NAME="Example ID",
    ) as started:
        started.member("paul", "contributor")
        started.shell(PAUL_HAS_AN_ADDRESS)
        yield started


@pytest.fixture
def page(house: Platform, chromium: Browser) -> Iterator[Page]:  # noqa: F811
    opened = patient(chromium).new_page()
    yield opened
    opened.context.close()


def by_provider(page: Page, house: Platform, sub: str) -> None:
    page.goto(house.url)
    page.get_by_role("button", name="Sign in with Example ID").click()
    page.locator("input[name=sub]").fill(sub)
    page.get_by_role("button", name=re.compile("authorize|sign in|continue", re.I)).first.click()
    page.wait_for_url(
        re.compile(f"{re.escape(house.url)}/(?!account/sso/oidc)")
    )  # back, with all that follows


def by_password(page: Page, house: Platform, name: str) -> None:
    page.goto(house.url)
    page.fill("#id_login", name)
    page.fill("#id_password", f"{name}-password-1")
    page.get_by_role("button", name="Sign in", exact=True).click()
    page.wait_for_url(re.compile("/projects/|/2fa/authenticate/"))


def test_who_comes_for_the_first_time_gets_an_account_and_no_project(house: Platform, page: Page) -> None:
    page.goto(house.url)
    no_barrier_here(page)
    by_provider(page, house, "u-1")
    expect(page.get_by_text("olga").first).to_be_visible()
    assert page.goto(f"{house.url}/projects/default/models/").status == 404  # type: ignore[union-attr]
    house.client().set_member("olga", "viewer")
    assert page.goto(f"{house.url}/projects/default/models/").status == 200  # type: ignore[union-attr]
    assert "sign_up" in house.shell(
        "from accounts.models import AuditEntry as A; print(*A.objects.values_list('verb', flat=True))",
    )


def no_barrier_here(page: Page) -> None:
    from axe_playwright_python.sync_playwright import Axe

    found = Axe().run(page).response["violations"]
    assert not [each["id"] for each in found if each["impact"] in ("serious", "critical")]


def test_a_verified_address_finds_the_account_that_was_there(house: Platform, page: Page) -> None:
    by_provider(page, house, "u-2")
    page.goto(f"{house.url}/projects/default/models/")
    expect(page.get_by_text("paul").first).to_be_visible()
    expect(page.get_by_role("heading", name="Model Registry")).to_be_visible()
    page.context.clear_cookies()
    by_password(page, house, "paul")
    expect(page.get_by_role("heading", name="Model Registry")).to_be_visible()


def test_an_address_that_nobody_verified_finds_no_account(house: Platform, page: Page) -> None:
    by_provider(page, house, "u-3")
    page.goto(f"{house.url}/projects/default/models/")
    expect(page.get_by_role("heading", name="Model Registry")).to_have_count(0)


def test_a_deactivated_person_is_let_in_by_no_provider(house: Platform, page: Page) -> None:
    def active(value: bool) -> None:
        house.shell(
            f"from accounts.models import User; User.objects.filter(username='olga').update(is_active={value})",
        )

    by_provider(page, house, "u-1")
    expect(page.get_by_text("olga").first).to_be_visible()
    page.context.clear_cookies()
    active(False)
    try:
        by_provider(page, house, "u-1")
        expect(page.get_by_text(re.compile("inactive", re.I)).first).to_be_visible()
    finally:
        active(True)


def code_of(secret: str) -> str:
    """A code that is good for ten seconds more: the server takes none of the half minute before its own."""
    app = pyotp.TOTP(secret)
    left = app.interval - time.time() % app.interval
    if left < 10:
        time.sleep(left)
    return app.now()


def test_an_authenticator_app_guards_the_sign_in_and_a_recovery_code_helps(
    house: Platform, page: Page
) -> None:
    house.member("otto", "contributor")
    by_password(page, house, "otto")
    page.goto(f"{house.url}/account/2fa/")
    no_barrier(page)
    page.get_by_role("link", name="Activate").click()
    expect(page.get_by_label("Authenticator secret").or_(page.get_by_label("Password"))).to_be_visible()
    if page.get_by_label("Password").count():
        page.get_by_label("Password").fill("otto-password-1")
        page.get_by_role("button", name="Confirm").click()
    secret = page.get_by_label("Authenticator secret").input_value()
    no_barrier(page)
    page.locator("input[name=code]").fill("000000")
    page.get_by_role("button", name="Activate").click()
    expect(page.get_by_text("Incorrect code")).to_be_visible()
    page.locator("input[name=code]").fill(code_of(secret))
    page.get_by_role("button", name="Activate").click()
    page.wait_for_url(re.compile("/account/2fa/(?!totp/activate/)"))
    page.goto(f"{house.url}/account/2fa/recovery-codes/")
    codes = re.findall(r"\b[0-9a-f]{8}\b", page.content())
    assert len(codes) >= 8
    assert secret not in house.shell(
        "from allauth.mfa.models import Authenticator as A; print(*A.objects.values_list('data', flat=True))",
    )
    page.context.clear_cookies()
    by_password(page, house, "otto")
    expect(page.get_by_role("heading", name="Two-Factor Authentication")).to_be_visible()
    page.goto(f"{house.url}/projects/default/models/")
    expect(page.get_by_role("heading", name="Model Registry")).to_have_count(0)
    page.goto(f"{house.url}/account/2fa/authenticate/")
    page.locator("input[name=code]").fill(codes[0])
    page.get_by_role("button", name="Sign In").click()
    page.goto(f"{house.url}/projects/default/models/")
    expect(page.get_by_role("heading", name="Model Registry")).to_be_visible()


def test_a_passkey_of_the_browser_is_a_second_factor(house: Platform, page: Page) -> None:
    link = page.context.new_cdp_session(page)
    link.send("WebAuthn.enable")
    options = {
        "protocol": "ctap2",
        "transport": "internal",
        "hasResidentKey": True,
        "hasUserVerification": True,
        "isUserVerified": True,
        "automaticPresenceSimulation": True,
    }
    link.send("WebAuthn.addVirtualAuthenticator", {"options": options})
    house.member("kay", "viewer")
    base = house.url.replace("127.0.0.1", "localhost")  # a passkey belongs to a name, not to an address
    page.goto(base)
    page.fill("#id_login", "kay")
    page.fill("#id_password", "kay-password-1")
    page.get_by_role("button", name="Sign in", exact=True).click()
    page.wait_for_url(re.compile("localhost:[0-9]+/(?!account)"))
    page.goto(f"{base}/account/2fa/webauthn/add/")
    if page.get_by_label("Password").count():
        page.get_by_label("Password").fill("kay-password-1")
        page.get_by_role("button", name="Confirm").click()
    page.get_by_role("button", name="Add").click()
    page.wait_for_url(re.compile("recovery-codes|webauthn/$"), wait_until="load")
    page.goto(f"{base}/account/2fa/webauthn/")
    expect(page.get_by_text("Added on")).to_be_visible()
    no_barrier(page)
    page.context.clear_cookies()
    page.goto(base)
    page.fill("#id_login", "kay")
    page.fill("#id_password", "kay-password-1")
    page.get_by_role("button", name="Sign in", exact=True).click()
    page.get_by_role("button", name="Use a security key").click()
    expect(page.get_by_role("heading", name="Model Registry")).to_be_visible()
