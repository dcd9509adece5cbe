"""Two people at the same moment: exactly one outcome, one history row for each success, no error of the server.

SOAK_APPROVALS is the number of rounds of each race (200 in `make soak`).
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from functools import partial
from itertools import pairwise
from threading import Barrier, Event
from typing import Any

import pytest
from django.db import connections, transaction
from django.utils import timezone

from accounts.choices import Role
from accounts.permissions import system_actor
from approvals import services
from approvals.models import ApprovalPolicy, ApprovalRequest
from approvals.policies import delete_approval_policy, set_approval_policy, set_promotion_rules
from common import sql
from common.errors import DomainError
from registry import aliases
from registry.models import AliasMove, ModelVersion, StageTransition
from tests.factories import Person, make_person, make_project, make_version
from tests.waiting import until

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.slow]

ROUNDS = int(os.environ.get("SOAK_APPROVALS", "6"))


@pytest.fixture
def people() -> list[Person]:
    """ann, who asks, and two who review."""
    project = make_project("alpha")
    roles = [Role.CONTRIBUTOR, Role.MAINTAINER, Role.MAINTAINER]
    return [make_person(project, role, username=name) for role, name in zip(roles, "arb", strict=True)]


def where(person: Person) -> dict[str, Any]:
    return {"actor": person.actor, "project": person.project}


def at_once(*acts: Callable[[], Any]) -> list[str]:
    """What became of each act: done, or the refusal's code."""
    barrier = Barrier(len(acts))

    def run(act: Callable[[], Any]) -> str:
        try:
            barrier.wait(30)
            act()
        except DomainError as error:
            assert error.message.endswith((".", "!")), error.message
            return error.code
        finally:
            connections.close_all()
        return "done"

    with ThreadPoolExecutor(len(acts)) as pool:
        return list(pool.map(run, acts))


def asked(person: Person, name: str = "m") -> ApprovalRequest:
    version = make_version(person, name)
    request = services.transition_stage(
        **where(person), model_name=name, ref=version.number, stage="Production"
    )
    assert isinstance(request, ApprovalRequest)
    return request


def moves(request: ApprovalRequest) -> int:
    return StageTransition.objects.filter(version=request.version, to_stage="Production").count()


def race(people: Sequence[Person], first: str, second: str, needed: int = 1) -> Counter[str]:
    """Rounds of two acts on one request; what the requests became."""
    ann, ray, bob = people
    set_approval_policy(**where(ray), approvals_needed=needed)
    acts: dict[str, Callable[[str], Any]] = {
        "approve": lambda at: services.approve(**where(ray), request_id=at),
        "approve too": lambda at: services.approve(**where(bob), request_id=at),
        "reject": lambda at: services.reject(**where(bob), request_id=at, comment="no"),
        "withdraw": lambda at: services.cancel_approval(**where(ann), request_id=at),
        "remove the policy": lambda at: _without_policy(ray),
    }
    ends: Counter[str] = Counter()
    for _ in range(ROUNDS):
        if not ApprovalPolicy.objects.exists():
            set_approval_policy(**where(ray), approvals_needed=needed)
        request = asked(ann)
        at = request.public_id
        outcomes = at_once(partial(acts[first], at), partial(acts[second], at))
        assert set(outcomes) <= {"done", "already_decided", "policy_not_found"}, outcomes
        request.refresh_from_db()
        assert request.state != "Pending"
        assert moves(request) == (request.state == "Approved")
        ends[request.state] += 1
    return ends


def _without_policy(person: Person) -> None:
    from approvals.policies import delete_approval_policy

    for pk in ApprovalPolicy.objects.values_list("pk", flat=True):
        delete_approval_policy(**where(person), policy_id=pk)


def test_approve_against_reject(people: list[Person]) -> None:
    assert set(race(people, "approve", "reject")) <= {"Approved", "Rejected"}


def test_approve_against_withdraw(people: list[Person]) -> None:
    assert set(race(people, "approve", "withdraw")) <= {"Approved", "Cancelled"}


def test_approve_against_the_end_of_the_policy(people: list[Person]) -> None:
    assert set(race(people, "approve", "remove the policy")) <= {"Approved", "Superseded"}


def test_two_last_approvals_move_once(people: list[Person]) -> None:
    assert set(race(people, "approve", "approve too")) == {"Approved"}


def test_two_needed_approvals_at_once_move_it(people: list[Person]) -> None:
    assert set(race(people, "approve", "approve too", needed=2)) == {"Approved"}


def test_approve_against_expiry(people: list[Person]) -> None:
    ann, ray, _ = people
    set_approval_policy(**where(ray))
    for _ in range(ROUNDS):
        request = asked(ann)
        soon = timezone.now() + timedelta(milliseconds=15)
        ApprovalRequest.objects.filter(pk=request.pk).update(expires_at=soon)
        at_once(
            lambda at=request.public_id: services.approve(**where(ray), request_id=at),
            lambda pk=request.pk: services.refresh_request(actor=system_actor(), request_pk=pk),
        )
        while timezone.now() < soon:
            pass
        services.refresh_request(actor=system_actor(), request_pk=request.pk)
        request.refresh_from_db()
        assert request.state in ("Approved", "Expired")
        assert moves(request) == (request.state == "Approved")


def test_the_same_person_twice_at_once_votes_once(people: list[Person]) -> None:
    ann, ray, bob = people
    set_approval_policy(**where(bob), approvals_needed=2)
    for _ in range(ROUNDS):
        at = asked(ann).public_id
        outcomes = at_once(*[lambda at=at: services.approve(**where(ray), request_id=at)] * 2)
        assert sorted(outcomes) == ["already_approved", "done"]


def test_fifty_versions_promoted_at_once_leave_one_in_production(people: list[Person]) -> None:
    ann, ray, _ = people
    set_promotion_rules(**where(ray), one_production=True, archive_previous=True)
    numbers = [make_version(ann, "m").number for _ in range(50 if ROUNDS > 50 else 12)]

    def promote(number: int) -> Any:
        return services.transition_stage(**where(ann), model_name="m", ref=number, stage="Production")

    outcomes = at_once(*[lambda n=number: promote(n) for number in numbers])
    assert set(outcomes) == {"done"}
    assert ModelVersion.objects.filter(model__name="m", stage="Production").count() == 1
    moved = StageTransition.objects.filter(to_stage="Production").count()
    assert (moved, StageTransition.objects.filter(to_stage="Archived").count()) == (
        len(numbers),
        len(numbers) - 1,
    )


def test_switching_the_rule_on_while_versions_move_leaves_one(people: list[Person]) -> None:
    ann, ray, _ = people
    for index in range(ROUNDS):
        name = f"m{index}"
        make_version(ann, name)
        make_version(ann, name)
        set_promotion_rules(**where(ray), one_production=False)
        at_once(
            lambda name=name: services.transition_stage(
                **where(ann), model_name=name, ref=1, stage="Production"
            ),
            lambda: set_promotion_rules(**where(ray), one_production=True),
            lambda name=name: services.transition_stage(
                **where(ann), model_name=name, ref=2, stage="Production"
            ),
        )
        standing = ModelVersion.objects.filter(model__name=name, stage="Production")
        rules = ann.project.promotion_rules
        rules.refresh_from_db()
        assert standing.count() == 1 or not rules.one_production
        assert not rules.one_production or all(version.is_sole for version in standing)
        for version in standing[1:]:
            services.transition_stage(**where(ann), model_name=name, ref=version.number, stage="Archived")


def test_an_alias_moved_by_two_at_once_has_a_row_for_each_move(people: list[Person]) -> None:
    ann, ray, _ = people
    for _ in (1, 2):
        make_version(ann, "m")
    for _ in range(ROUNDS):
        before = AliasMove.objects.count()
        outcomes = at_once(
            lambda: aliases.set_alias(**where(ann), model_name="m", alias="best", version=1),
            lambda: aliases.set_alias(**where(ray), model_name="m", alias="best", version=2),
        )
        assert set(outcomes) == {"done"}
        made = list(AliasMove.objects.order_by("id")[before:])
        assert len(made) in (1, 2)
        assert all(later.from_version_id == earlier.to_version_id for earlier, later in pairwise(made))


WAITS = "SELECT count(*) FROM pg_locks WHERE NOT granted"


def test_a_move_during_the_removal_of_a_model_s_policy_waits_for_the_project_s(people: list[Person]) -> None:
    ann, ray, _ = people
    make_version(ann, "m")
    set_approval_policy(**where(ray))
    own = set_approval_policy(**where(ray), model_name="m")
    removed = Event()

    def remove() -> None:
        try:
            with transaction.atomic():
                delete_approval_policy(**where(ray), policy_id=own.pk)
                removed.set()
                until(lambda: sql.row(WAITS, [])[0] > 0, 30)  # type: ignore[index]
        finally:
            connections.close_all()

    with ThreadPoolExecutor(1) as pool:
        removal = pool.submit(remove)
        assert removed.wait(30)
        asked = services.transition_stage(**where(ann), model_name="m", ref=1, stage="Production")
        removal.result(30)
    assert isinstance(asked, ApprovalRequest)
    assert ModelVersion.objects.get().stage == "None"
