"""Changes where there is room for one only: what serves ends first, and comes back when the new one does not come."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.deployments.conftest import (
    EngineProcess,
    a_quick_version,
    ask,
    call,
    deploy,
    deployed,
    endpoint,
    events,
    state,
    work_until,
    work_until_idle,
)
from tests.factories import Person

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("gateway")]
REPLACE = {"replace": True}
GIVES_WAY = "Version 1 gives way to version 2: it ends first."


def replaced_by(person: Person, load: str) -> None:
    """An endpoint whose first version has just given way to a second that loads like this."""
    deployed(person, a_quick_version(person, "return [1 for row in rows]"))
    assert deploy(person, a_quick_version(person, load=load), rollout=REPLACE).status_code == 200
    work_until(lambda: GIVES_WAY in events(person))


def test_what_serves_ends_before_the_new_one_starts_and_requests_wait_for_that(
    ada: Person, engine: EngineProcess
) -> None:
    replaced_by(ada, "time.sleep(1)")
    assert state(ada) == "Updating"
    assert call(ada, "GET", "/v2/health/ready").status_code == 503
    with ThreadPoolExecutor() as pool:
        asked = pool.submit(ask, ada, rows=[1])

        def is_active() -> bool:
            processes = engine.client.services()
            assert len(processes) <= 1, processes
            return state(ada) == "Active"

        work_until(is_active)
        answer = asked.result()
    assert (answer.status_code, answer.json()["predictions"]) == (200, [7])
    work_until_idle()
    assert (endpoint(ada)["serving_version"], len(engine.living())) == (2, 1)


def test_what_was_replaced_comes_back_when_the_new_one_fails(ada: Person, engine: EngineProcess) -> None:
    replaced_by(ada, "raise RuntimeError('no weights')")
    work_until(lambda: state(ada) == "Degraded")
    work_until(lambda: endpoint(ada)["reason"].endswith("Version 1 goes on serving."))
    work_until_idle()
    found = endpoint(ada)
    assert (found["state"], found["serving_version"]) == ("Degraded", 1)
    assert "Version 2 could not take over" in found["reason"] and "no weights" in found["reason"]
    assert "Version 1 answers again." in events(ada)
    assert ask(ada, rows=[1]).json()["predictions"] == [1] and len(engine.living()) == 1


def test_what_was_replaced_comes_back_when_the_change_is_given_up(ada: Person, engine: EngineProcess) -> None:
    replaced_by(ada, "time.sleep(60)")
    work_until(lambda: len(engine.living()) == 1 and state(ada) == "Updating")
    assert ada.api.post(f"{ada.base}/deployments/iris-api/abort").status_code == 200
    work_until(lambda: state(ada) == "Active")
    work_until_idle()
    assert ask(ada, rows=[1]).json()["predictions"] == [1] and len(engine.living()) == 1


def test_its_shadow_makes_room_too_and_gets_copies_again(ada: Person, engine: EngineProcess) -> None:
    deployed(ada, a_quick_version(ada, "return [1 for row in rows]"))
    second = a_quick_version(ada)
    shadowed = ada.api.put(f"{ada.base}/deployments/iris-api/shadow", {"version": 2}, format="json")
    assert shadowed.status_code == 200, shadowed.data
    work_until(lambda: len(engine.living()) == 2 and endpoint(ada)["shadow"]["state"] == "Active")
    deploy(ada, second, rollout=REPLACE)
    work_until(lambda: "Version 1 gives way to version 2: it ends first." in events(ada))
    work_until(lambda: endpoint(ada)["serving_version"] == 2)
    work_until(lambda: endpoint(ada)["shadow"]["state"] == "Active")
    work_until_idle()
    assert (state(ada), len(engine.living())) == ("Active", 2)


def test_a_first_start_replaces_nothing_and_a_rollback_goes_the_same_way(
    ada: Person, engine: EngineProcess
) -> None:
    first, second = a_quick_version(ada, "return [1 for row in rows]"), a_quick_version(ada)
    for version in (first, second):
        deploy(ada, version, rollout=REPLACE)
        work_until(lambda version=version: endpoint(ada)["serving_version"] == version.number)
    assert ada.api.post(f"{ada.base}/deployments/iris-api/rollback").status_code == 200
    work_until(lambda: endpoint(ada)["serving_version"] == 1)
    work_until_idle()
    gave_way = [line for line in events(ada) if "gives way" in line]
    assert gave_way == [GIVES_WAY, "Version 2 gives way to version 1: it ends first."]
    assert endpoint(ada)["rollout"] == REPLACE


@pytest.mark.parametrize(
    ("rollout", "said"),
    [
        ({"replace": "yes"}, "rollout.replace is 'yes'; it must be true or false."),
        (
            {"replace": True, "steps": [10]},
            "rollout.replace ends what serves before the new revision starts, so it goes with no steps.",
        ),
    ],
)
def test_a_wrong_wish_is_told(ada: Person, rollout: dict[str, object], said: str) -> None:
    answer = deploy(ada, a_quick_version(ada), rollout=rollout)
    assert (answer.status_code, answer.json()["errors"]) == (400, {"rollout.replace": [said]})


def test_what_replaces_nothing_moves_at_once(ada: Person, engine: EngineProcess) -> None:
    assert deploy(ada, a_quick_version(ada), rollout={"replace": False}).json()["rollout"] == {}
