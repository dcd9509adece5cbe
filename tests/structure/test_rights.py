"""Who may do what: every operation against every kind of caller, in one table."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from django.db import transaction
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver
from django.utils import timezone

from accounts.choices import Door, Role, Scope
from accounts.models import ApiToken, Membership
from accounts.permissions import Actor
from accounts.services import create_token
from deployments import services as deployment_verbs
from tests.factories import make_person, make_project
from tests.structure.operations import Operation, World, make_world, operations

pytestmark = pytest.mark.django_db

# The callers. Tokens have all scopes unless they are called by the one they have: those are an admin's.
CALLERS = (
    *("nobody", "expired", "deactivated", "stranger", "removed", "elsewhere"),
    *("viewer", "contributor", "maintainer", "admin", "read", "predict", "write"),
)
NOT_IN = "401 401 401 404 404 404"
READ = f"{NOT_IN} 2xx 2xx 2xx 2xx 2xx 403 2xx"
WRITE = f"{NOT_IN} 403 2xx 2xx 2xx 403 403 2xx"
MAINTAIN = f"{NOT_IN} 403 403 2xx 2xx 403 403 2xx"
ADMIN = f"{NOT_IN} 403 403 403 2xx 403 403 403"
ONESELF = f"{NOT_IN} 2xx 2xx 2xx 2xx 403 403 2xx"
READ_TRAIL = f"{NOT_IN} 403 403 2xx 2xx 403 403 2xx"

TABLE = {
    "me": "401 401 401 2xx 2xx 2xx 2xx 2xx 2xx 2xx 2xx 2xx 2xx",
    "get_bundle_key": "401 401 401 2xx 2xx 2xx 2xx 2xx 2xx 2xx 2xx 2xx 2xx",
    "list_audit": READ_TRAIL,
    "export_audit": READ_TRAIL,
    "list_members": READ,
    "set_member": ADMIN,
    "remove_member": ADMIN,
    "list_groups": READ,
    "set_group": ADMIN,
    "delete_group": ADMIN,
    "list_tokens": READ,
    # One's own, and never more than the token has that asks.
    "create_token": f"{NOT_IN} 2xx 2xx 2xx 2xx 403 403 403",
    # Somebody else's: it is there for the project's admins only.
    "revoke_token": f"{NOT_IN} 404 404 404 2xx 404 403 404",
    "missing_blobs": WRITE,
    "store_blob": WRITE,
    "store_blobs": WRITE,
    "list_uploads": WRITE,
    "begin_upload": WRITE,
    "get_upload": WRITE,
    "abort_upload": WRITE,
    "put_part": WRITE,
    # Straight to a bucket; the files of the tests lie in a folder.
    "part_addresses": f"{NOT_IN} 403 409 409 409 403 403 409",
    # The first finds the parts; what the test takes back afterwards is the database, not the store.
    "complete_upload": f"{NOT_IN} 403 2xx 409 409 403 403 409",
    "list_experiments": READ,
    "create_experiment": WRITE,
    "get_experiment": READ,
    "update_experiment": WRITE,
    "archive_experiment": WRITE,
    "restore_experiment": WRITE,
    "list_runs": READ,
    "start_run": WRITE,
    "get_run": READ,
    "update_run": WRITE,
    "end_run": WRITE,
    "restore_run": MAINTAIN,
    "kill_run": WRITE,
    "list_run_alerts": READ,
    "create_run_alert": WRITE,
    "delete_run_alert": WRITE,
    "delete_run": MAINTAIN,  # somebody else's
    "log_params": WRITE,
    "get_metrics": READ,
    "log_metrics": WRITE,
    "get_metric_history": READ,
    "get_metric_histories": READ,
    "export_metrics": READ,
    "export_runs": READ,
    "compare_runs": READ,
    "log_dataset": WRITE,
    "list_run_files": READ,
    "commit_files": WRITE,
    "download_run_file": READ,
    "read_run_files": READ,
    "list_models": READ,
    "register_model": WRITE,
    "get_model": READ,
    "update_model": WRITE,
    "delete_model": MAINTAIN,
    "list_versions": READ,
    "search_versions": READ,
    "bulk": WRITE,
    "get_standing": READ,
    "get_inspection": READ,
    "log_validation_metrics": WRITE,
    "list_trash": MAINTAIN,
    "restore_model": MAINTAIN,
    "restore_version": MAINTAIN,
    "list_protections": READ,
    "protect": MAINTAIN,
    "unprotect": MAINTAIN,
    "create_version": WRITE,
    "get_version": READ,
    "update_version": WRITE,
    "delete_version": MAINTAIN,
    "quarantine_version": MAINTAIN,
    "release_version": MAINTAIN,
    "copy_version": WRITE,
    "export_version": READ,
    "import_version": WRITE,
    "set_version_tag": WRITE,
    "delete_version_tag": WRITE,
    "transition_stage": WRITE,
    "list_version_transitions": READ,
    "list_model_transitions": READ,
    "list_version_files": READ,
    "download_version_file": READ,
    "read_version_files": READ,
    "compare_versions": READ,
    "get_lineage": READ,
    "get_lineage_events": READ,
    "get_version_lineage": READ,
    "get_impact": READ,
    "notify_owners": MAINTAIN,
    "quarantine_impact": MAINTAIN,
    "release_impact": MAINTAIN,
    "list_datasets": READ,
    "get_dataset": READ,
    "mark_dataset": MAINTAIN,
    "clear_dataset": MAINTAIN,
    "list_run_inputs": READ,
    "use_model": WRITE,
    "get_recipe": READ,
    "run_again": WRITE,
    "list_aliases": READ,
    "get_version_by_alias": READ,
    "set_alias": WRITE,
    "delete_alias": WRITE,
    "list_alias_moves": READ,
    "list_training_code": READ,
    "upload_training_code": WRITE,
    # What stands in Production is archived, and that stage is protected here.
    "rollback_model": MAINTAIN,
    "list_invitations": f"{NOT_IN} 403 403 403 2xx 403 403 403",
    "invite_member": ADMIN,
    "revoke_invitation": ADMIN,
    "list_webhooks": READ_TRAIL,
    "create_webhook": MAINTAIN,
    "get_webhook": READ_TRAIL,
    "update_webhook": MAINTAIN,
    "delete_webhook": MAINTAIN,
    "ping_webhook": MAINTAIN,
    "list_webhook_deliveries": READ_TRAIL,
    "redeliver": MAINTAIN,
    "list_notifications": READ,
    "read_notifications": ONESELF,
    "get_notification_choices": READ,
    "set_notification_choice": ONESELF,
    "list_approvals": READ,
    "get_approval": READ,
    # The policy names nobody, so that maintainers and admins review.
    "approve": MAINTAIN,
    "reject": MAINTAIN,
    "cancel_approval": MAINTAIN,
    "comment_approval": ONESELF,
    "list_approval_policies": READ,
    "set_approval_policy": MAINTAIN,
    "delete_approval_policy": MAINTAIN,
    "get_promotion_rules": READ,
    "set_promotion_rules": MAINTAIN,
    "list_schedules": READ,
    "create_schedule": WRITE,
    "get_schedule_times": READ,
    "get_schedule": READ,
    "update_schedule": WRITE,
    "delete_schedule": WRITE,
    "pause_schedule": WRITE,
    "resume_schedule": WRITE,
    "trigger_schedule": WRITE,
    "list_schedule_executions": READ,
    "list_deleted_schedule_executions": READ,
    "get_schedule_execution": READ,
    "stop_schedule_execution": WRITE,
    "read_execution_log": READ,
    "list_deployments": READ,
    "deploy": WRITE,
    "get_deployment": READ,
    "update_deployment": WRITE,
    "delete_deployment": MAINTAIN,
    "deploy_again": WRITE,
    "undeploy": WRITE,
    "rollback_deployment": WRITE,
    "promote_rollout": WRITE,
    "abort_rollout": WRITE,
    "set_shadow": WRITE,
    "unset_shadow": WRITE,
    "list_deployment_revisions": READ,
    "get_deployment_metrics": READ,
    "list_gpu_types": READ,
    "list_deployment_events": READ,
    "read_deployment_logs": READ,
}


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    engine = SimpleNamespace(logs=lambda *asked: ["a line"], gpu_types=lambda: [])
    monkeypatch.setattr(deployment_verbs, "engine_for", lambda name: engine)
    return make_world()


@pytest.fixture
def callers(world: World) -> dict[str, Client]:
    """A client for each caller of the table."""
    project = world.person.project
    people = {role: make_person(project, role) for role in ("viewer", "contributor", "maintainer", "admin")}
    people |= {
        scope: make_person(project, Role.ADMIN, [Scope(scope)]) for scope in ("read", "predict", "write")
    }
    people |= {name: make_person(project) for name in ("expired", "deactivated", "removed")}
    people["stranger"] = make_person(make_project())
    ApiToken.objects.filter(user=people["expired"].user).update(
        expires_at=timezone.now() - timedelta(seconds=1)
    )
    type(people["deactivated"].user).objects.filter(pk=people["deactivated"].user.pk).update(is_active=False)
    Membership.objects.filter(user=people["removed"].user).delete()
    tokens = {name: person.token for name, person in people.items()}
    actor = Actor(user=people["admin"].user, door=Door.COMMAND)
    other = make_project()
    Membership.objects.create(project=other, user=actor.user, role=Role.ADMIN)
    _, tokens["elsewhere"] = create_token(actor=actor, name="bound", scopes=[Scope.ADMIN], project=other)
    clients = {name: Client(headers={"Authorization": f"Bearer {text}"}) for name, text in tokens.items()}
    return {"nobody": Client(), **clients}


def differences(callers: dict[str, Client], name: str, row: str, ask: Any) -> Iterator[str]:
    for caller, expected in zip(CALLERS, row.split(), strict=True):
        with transaction.atomic():
            status = str(ask(callers[caller]).status_code)
            transaction.set_rollback(True)
        if status != expected and not (expected == "2xx" and status[0] == "2"):
            yield f"{name} by {caller}: {status}, not {expected}"


def test_the_table_has_a_row_for_each_operation() -> None:
    assert {operation.name for operation in operations()} == set(TABLE)


def test_each_caller_may_do_what_the_table_says(world: World, callers: dict[str, Client]) -> None:
    assert set(CALLERS) == set(callers)
    found: list[str] = []
    for operation in operations():

        def ask(api: Client, operation: Operation = operation) -> Any:
            return world.send(api, operation)

        found += differences(callers, operation.name, TABLE[operation.name], ask)
    assert not found, "\n".join(found)


# Not of people: a cluster's node fetches its model there, by a key of its own (tests/cluster/test_model_files.py).
OF_NODES = "api/v1/services/"


def routes(resolver: URLResolver, prefix: str = "") -> Iterator[tuple[str, Any]]:
    for entry in resolver.url_patterns:
        route = prefix + str(entry.pattern)
        if isinstance(entry, URLResolver):
            yield from routes(entry, route)
        elif isinstance(entry, URLPattern) and route.startswith("api/v1/") and not route.startswith(OF_NODES):
            yield route, getattr(entry.callback, "view_class", None)


def test_each_method_of_each_route_is_in_the_description() -> None:
    """An operation that the description leaves out would have no row here."""
    known = {(operation.address, operation.method) for operation in operations()}
    for route, view in routes(get_resolver()):
        address = "/" + "/".join(
            "{" + part.strip("<>").rpartition(":")[2] + "}" if part.startswith("<") else part
            for part in route.split("/")
        )
        methods = {m for m in ("get", "post", "put", "patch", "delete") if hasattr(view, m)}
        assert methods, route
        assert {(address, method) for method in methods} <= known, route
