"""Verbs on users, projects, members and tokens."""

from __future__ import annotations

import re
import secrets
from collections.abc import Sequence
from datetime import datetime, timedelta

from allauth.account.models import EmailAddress
from allauth.mfa.models import Authenticator
from django.core.exceptions import ValidationError
from django.core.validators import validate_email
from django.db import IntegrityError, transaction
from django.utils import timezone

from accounts.audit import record
from accounts.choices import Right, Role, Scope
from accounts.groups import leave_groups
from accounts.models import ApiToken, Membership, Project, User
from accounts.permissions import STATE, Actor, may, require
from accounts.tokens import hash_secret, is_secret, parse_token, token_refused
from common import jobs, sql
from common.checks import check_pattern, check_text, check_whole, shorten
from common.errors import Conflict, Denied, Invalid, Missing
from common.models import Job

SLUG = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
ACCESS = """
    SELECT m.role, NULL, {t}, {u}, {p}
    FROM accounts_apitoken t
    JOIN accounts_user u ON u.id = t.user_id AND u.is_active
    LEFT JOIN accounts_project p ON p.slug = %s
    LEFT JOIN accounts_membership m ON m.project_id = p.id AND m.user_id = u.id
    WHERE t.prefix = %s AND t.revoked_at IS NULL AND (t.expires_at IS NULL OR t.expires_at > %s)
"""
ACCESS_WITH_STATE = ACCESS.replace("NULL", STATE, 1)
LAST_USE_EVERY = timedelta(minutes=1)


def create_project(*, actor: Actor, slug: str, name: str = "", description: str = "") -> Project:
    """A new project with `actor` as its admin. Only superusers and the system make projects."""
    if not (actor.user.is_superuser or actor.user.is_system):
        raise Denied("Only an operator may create a project.", "Ask your operator for one.")
    check_slug(slug)
    with transaction.atomic():
        try:
            with transaction.atomic():
                project = Project.objects.create(slug=slug, name=name or slug, description=description)
        except IntegrityError as error:
            raise Conflict(f"A project {slug!r} exists already.", "Choose another slug.") from error
        if not actor.user.is_system:
            Membership.objects.create(project=project, user=actor.user, role=Role.ADMIN)
        record(actor, "create_project", "project", slug, project=project, after={"name": project.name})
    return project


def update_project(*, actor: Actor, project: Project, name: str, description: str) -> Project:
    """Another name or description; the slug stays, for it stands in addresses."""
    require(actor, project, Right.ADMIN)
    after = {
        "name": check_text("name", name, max_length=120, required=True),
        "description": check_text("description", description, max_length=20_000),
    }
    with transaction.atomic():
        found = Project.objects.select_for_update().get(pk=project.pk)
        before = {field: getattr(found, field) for field in after}
        if before != after:
            Project.objects.filter(pk=project.pk).update(**after)
            record(actor, "update_project", "project", found.slug, project=found, before=before, after=after)
    project.name, project.description = name, description
    return project


def check_slug(slug: object) -> str:
    rule = "lower-case letters, digits and inner hyphens"
    return check_pattern("slug", slug, SLUG, rule, max_length=63)


def update_profile(*, actor: Actor, first_name: str, last_name: str, email: str, password: str = "") -> User:
    """One's own names and e-mail address. Another address takes the password: who holds it can ask for a new one."""
    if actor.token is not None:
        raise Denied("A token does not change its owner's profile.", "Sign in to the portal.")
    after = {
        "first_name": check_text("first_name", first_name, max_length=150).strip(),
        "last_name": check_text("last_name", last_name, max_length=150).strip(),
        "email": check_text("email", email, max_length=254).strip(),
    }
    with transaction.atomic():
        user = User.objects.select_for_update().get(pk=actor.user.pk)
        before = {field: getattr(user, field) for field in after}
        if before["email"] != after["email"]:
            _check_new_address(user, after["email"], password)
        if before != after:
            User.objects.filter(pk=user.pk).update(**after)
            record(actor, "update_profile", "user", user.username, before=before, after=after)
    user.refresh_from_db()
    return user


def _check_new_address(user: User, email: str, password: str) -> None:
    if not user.check_password(password):
        raise Invalid.field("password", "This is not your password; a new e-mail address needs it.")
    if email:
        try:
            validate_email(email)
        except ValidationError as error:
            raise Invalid.field(
                "email", f"email is {shorten(email)}; it must be an e-mail address."
            ) from error
        others = User.objects.filter(email__iexact=email).exclude(pk=user.pk)
        if others.exists() or EmailAddress.objects.filter(email__iexact=email).exclude(user=user).exists():
            raise Invalid.field("email", "Another person here has this e-mail address.")
    EmailAddress.objects.filter(user=user).exclude(email__iexact=email).delete()


def confirm_address(user: User) -> None:
    """The user's e-mail address is known to be theirs: an operator wrote it, or a letter to it was answered.

    Who comes by the provider with that address then keeps the password; with one that was only claimed it ends.
    """
    EmailAddress.objects.filter(user=user).delete()
    taken = EmailAddress.objects.filter(email__iexact=user.email, verified=True)
    if user.email and not taken.exists():
        EmailAddress.objects.create(user=user, email=user.email.lower(), verified=True, primary=True)


def leave_to_owner(*, actor: Actor, addresses: Sequence[str]) -> None:
    """Ends the tokens and second factors of the actor's account unless somebody vouched for one of `addresses`.

    Their owner comes to it by them: else who only claimed one would go on acting as them, or keep them out.
    """
    user = actor.user
    vouched = EmailAddress.objects.filter(user=user, verified=True)
    if any(vouched.filter(email__iexact=address).exists() for address in addresses):
        return
    with transaction.atomic():
        tokens = ApiToken.objects.filter(user=user, revoked_at=None).update(revoked_at=timezone.now())
        factors, _ = Authenticator.objects.filter(user=user).delete()
        after = {"tokens_ended": tokens, "second_factors_ended": factors}
        record(actor, "leave_to_owner", "user", user.username, after=after)


def set_member(*, actor: Actor, project: Project, username: str, role: str) -> Membership:
    """Adds a member, or gives one another role; a project always keeps at least one admin."""
    require(actor, project, Right.ADMIN)
    if role not in Role.values:
        raise Invalid.field("role", f"role is {shorten(role)}; it must be one of {', '.join(Role.values)}.")
    with transaction.atomic():
        Project.objects.select_for_update().get(pk=project.pk)
        user = _find_user(username)
        before = Membership.objects.filter(project=project, user=user).first()
        if before and before.role == Role.ADMIN and role != Role.ADMIN:
            _keep_one_admin(project, user)
        membership, _ = Membership.objects.update_or_create(
            project=project, user=user, defaults={"role": role}
        )
        record(
            actor,
            "set_member",
            "member",
            username,
            project=project,
            before={"role": before.role if before else None},
            after={"role": role},
        )
    return membership


def remove_member(*, actor: Actor, project: Project, username: str) -> None:
    """Takes a member out; the last admin stays."""
    require(actor, project, Right.ADMIN)
    with transaction.atomic():
        Project.objects.select_for_update().get(pk=project.pk)
        user = _find_user(username)
        membership = Membership.objects.filter(project=project, user=user).first()
        if membership is None:
            raise Missing(f"{shorten(username)} is no member of {project.slug}.")
        if membership.role == Role.ADMIN:
            _keep_one_admin(project, user)
        membership.delete()
        leave_groups(project, user)
        record(actor, "remove_member", "member", username, project=project, before={"role": membership.role})


def _find_user(username: str) -> User:
    user = User.objects.filter(username=username, is_system=False).first()
    if user is None:
        raise Missing(f"There is no user {shorten(username)}.", "An operator makes users in the admin.")
    return user


def _keep_one_admin(project: Project, leaving: User) -> None:
    others = Membership.objects.filter(project=project, role=Role.ADMIN).exclude(user=leaving)
    if not others.exists():
        raise Conflict(
            f"{leaving.username} is the last admin of {project.slug}.", "Make somebody else an admin first."
        )


def create_token(
    *,
    actor: Actor,
    name: str,
    scopes: Sequence[str],
    project: Project | None = None,
    expires_in_days: int | None = None,
) -> tuple[ApiToken, str]:
    """A token of the actor's own: the row and the text that is shown once.

    A token made with a token never has more than that one: not more scopes, not more projects, not more time.
    """
    check_text("name", name, max_length=120, required=True)
    wanted = _check_scopes(scopes)
    if project is not None:
        require(actor, project, Right.READ)
    if actor.token is not None:
        _within_own_token(actor.token, wanted, project)
    expires_at = None
    if expires_in_days is not None:
        check_whole("expires_in_days", expires_in_days, low=1, high=3650)
        expires_at = timezone.now() + timedelta(days=expires_in_days)
    if actor.token is not None and actor.token.expires_at is not None:
        expires_at = min(expires_at or actor.token.expires_at, actor.token.expires_at)
    prefix, secret = secrets.token_hex(4), secrets.token_urlsafe(32)
    with transaction.atomic():
        token = ApiToken.objects.create(
            user=actor.user,
            project=project,
            name=name,
            prefix=prefix,
            secret_hash=hash_secret(secret),
            scopes=wanted,
            expires_at=expires_at,
        )
        record(
            actor, "create_token", "token", prefix, project=project, after={"name": name, "scopes": wanted}
        )
    return token, f"podstack_{prefix}_{secret}"


def create_run_token(*, actor: Actor, project: Project, run_id: str, expires_at: datetime) -> str:
    """The text of a token that reads the project and writes to this run alone, until `revoke_run_tokens`."""
    require(actor, project, Right.WRITE)
    prefix, secret = secrets.token_hex(4), secrets.token_urlsafe(32)
    with transaction.atomic():
        ApiToken.objects.create(
            user=actor.user,
            project=project,
            name=f"for {run_id}",
            prefix=prefix,
            secret_hash=hash_secret(secret),
            scopes=[Scope.READ, Scope.WRITE],
            only_run=run_id,
            expires_at=expires_at,
        )
        record(actor, "create_token", "token", prefix, project=project, after={"only_run": run_id})
    return f"podstack_{prefix}_{secret}"


def revoke_run_tokens(run_id: str) -> None:
    """Ends the tokens that were made for a run's own process."""
    ApiToken.objects.filter(only_run=run_id, revoked_at=None).update(revoked_at=timezone.now())


def revoke_token(*, actor: Actor, prefix: str) -> ApiToken:
    """Ends a token at once: one's own, or, for a project's admins, one bound to their project."""
    with transaction.atomic():
        token = ApiToken.objects.select_for_update().filter(prefix=prefix).first()
        if token is None or not _may_revoke(actor, token):
            raise Missing(f"There is no token with the prefix {shorten(prefix)} that you may revoke.")
        if token.revoked_at is None:
            token.revoked_at = timezone.now()
            token.save(update_fields=["revoked_at"])
            record(actor, "revoke_token", "token", prefix, project=token.project, before={"name": token.name})
    return token


def retry_job(*, actor: Actor, job_id: int) -> Job:
    """A failed job gets a new round of tries, one that waits for its next try has it now; only operators do this."""
    if not actor.is_operator:
        raise Denied(f"Only an operator may have job {job_id} tried again.", "Ask your operator.")
    with transaction.atomic():
        job, before = jobs.retry(job_id)
        record(
            actor, "retry_job", "job", str(job_id), before=before, after={"name": job.name, "key": job.key}
        )
    return job


def remove_second_factor(*, actor: Actor, factor: Authenticator) -> None:
    """Who has lost theirs sets it up anew; only operators take it away from another."""
    if not actor.is_operator:
        raise Denied(f"Only an operator may remove the second factor of {factor.user}.", "Ask your operator.")
    with transaction.atomic():
        before = {"kind": str(factor.type)}
        record(actor, "remove_second_factor", "user", factor.user.username, before=before)
        factor.delete()


def authenticate_token(text: str, slug: str = "", *, with_state: bool = False) -> ApiToken:
    """The usable token whose text this is, or Unauthenticated. Notes the last use at most once a minute.

    With the slug of a project, `reached` tells that project and the user's role in it, read by the same statement;
    `with_state` the project's `state` too.
    """
    prefix, secret = parse_token(text)
    now = timezone.now()
    statement = ACCESS_WITH_STATE if with_state else ACCESS
    found = sql.row(sql.expand(statement, t=ApiToken, u=User, p=Project), [slug, prefix, now])
    token = None if found is None else _token_of(found)
    if token is None or not is_secret(secret, token.secret_hash):
        raise token_refused()
    if token.last_used_at is None or now - token.last_used_at > LAST_USE_EVERY:
        ApiToken.objects.filter(pk=token.pk).update(last_used_at=now)
    return token


def _token_of(found: sql.Row) -> ApiToken:
    """The token with its user and the project asked about, from one row of the statement above."""
    user_at = 2 + sql.width(ApiToken)
    project_at = user_at + sql.width(User)
    token = sql.instance(ApiToken, found[2:user_at])
    token.user = sql.instance(User, found[user_at:project_at])
    if found[project_at] is not None:
        project = sql.instance(Project, found[project_at:])
        project.state = found[1] or ""
        token.reached = (project, found[0])
    return token


def _check_scopes(scopes: Sequence[str]) -> list[str]:
    known = ", ".join(Scope.values)
    if isinstance(scopes, str) or not scopes or any(s not in Scope.values for s in scopes):
        raise Invalid.field(
            "scopes", f"scopes is {shorten(scopes)}; it must be a list of one or more of {known}."
        )
    return sorted(set(scopes))


def _within_own_token(own: ApiToken, scopes: list[str], project: Project | None) -> None:
    if Scope.ADMIN not in own.scopes:
        raise Denied(
            "A token without the scope admin makes no tokens.", "Sign in to make one.", code="scope_missing"
        )
    if own.project_id is not None and (project is None or project.pk != own.project_id):
        raise Denied("A token bound to one project makes tokens for that project only.")


def _may_revoke(actor: Actor, token: ApiToken) -> bool:
    own = actor.token
    if own is not None and own.pk == token.pk:
        return True
    if own is not None and own.project_id not in (None, token.project_id):
        return False
    if actor.is_operator or token.user_id == actor.user.pk:
        return own is None or Scope.ADMIN in own.scopes
    return token.project is not None and may(actor, token.project, Right.ADMIN)
