"""What roles and scopes allow, and the sentences that refuse: without models, for every door and the gateway."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from accounts.choices import Right, Role, Scope
from common.errors import Denied, Missing

ROLE_RIGHTS: Mapping[str, frozenset[Right]] = {
    # Whom a policy names may review, whatever the role.
    Role.VIEWER: frozenset({Right.READ, Right.PREDICT, Right.REVIEW}),
    Role.CONTRIBUTOR: frozenset({Right.READ, Right.PREDICT, Right.REVIEW, Right.WRITE}),
    Role.MAINTAINER: frozenset(set(Right) - {Right.ADMIN}),
    Role.ADMIN: frozenset(Right),
}
SCOPE_RIGHTS: Mapping[str, frozenset[Right]] = {
    Scope.READ: frozenset({Right.READ}),
    Scope.PREDICT: frozenset({Right.PREDICT}),
    Scope.WRITE: frozenset(set(Right) - {Right.ADMIN}),
    Scope.ADMIN: frozenset(Right),
}


def scopes_allow(scopes: Sequence[str], right: Right) -> bool:
    """Whether a token with these scopes may use `right`."""
    return any(right in SCOPE_RIGHTS[scope] for scope in scopes)


def no_project(slug: str) -> Missing:
    """To who is no member, a project does not exist."""
    return Missing(
        f"There is no project {slug[:63]!r} that you can see.",
        "Check the name, or ask one of its admins to add you.",
        code="project_not_found",
    )


def scope_missing(scopes: Sequence[str], right: Right) -> Denied:
    """A member whose token was made for less."""
    return Denied(
        f"This token may not {right.label}: its scopes are {', '.join(scopes)}.",
        "Make a token with the scope that this needs.",
        code="scope_missing",
    )


def only_its_run(run_id: str) -> Denied:
    """The token of a run's own process, used for anything else than that run."""
    return Denied(f"This token may read the project and write to {run_id} alone.", code="token_of_a_run")


def deactivated(username: str) -> Denied:
    """Somebody in whose name a job acts, and who may act no more."""
    return Denied(
        f"{username}'s account is deactivated.",
        "Somebody else has to ask for it, or an operator activates the account.",
        code="deactivated",
    )


def role_too_low(role: str, slug: str, right: Right) -> Denied:
    """A member whose role does not reach."""
    return Denied(
        f"As a {role} of {slug} you may not {right.label}.",
        "Ask an admin of the project for a higher role.",
        code="role_too_low",
    )
