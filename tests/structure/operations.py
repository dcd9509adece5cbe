"""Every operation of the API's description with values that work, and the things they name."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, urlencode

from accounts.choices import Role, Scope
from accounts.groups import set_group
from accounts.invitations import invite
from accounts.services import create_token, set_member
from accounts.webhooks import create_webhook, ping_webhook
from approvals.models import ApprovalPolicy, ApprovalRequest
from approvals.policies import set_approval_policy
from approvals.services import transition_stage
from artifacts.uploads import begin_upload, put_part
from deployments.models import Deployment
from deployments.rollouts import set_shadow
from deployments.services import deploy
from registry import services as registry_verbs
from registry import trash
from registry.aliases import set_alias
from registry.bundles import export_version
from registry.choices import VersionStatus
from registry.models import Inspection, ModelVersion
from registry.protections import protect
from scheduling.models import ScheduleExecution, TrainingCode
from scheduling.services import delete_schedule
from tests.factories import Person, make_person, make_project, make_user, make_version
from tests.scheduling.factories import make_schedule, trigger
from tests.structure.test_openapi import schema
from tracking import services as tracking_verbs
from tracking.alerts import create_run_alert
from tracking.datasets import mark_dataset
from tracking.models import Dataset

CONTENT = b"1 2 3"
SHA256 = hashlib.sha256(CONTENT).hexdigest()
QUARANTINED = 2
METHODS = ("get", "put", "post", "delete", "patch")
NEEDS_A_BUCKET = {"part_addresses"}  # tests/artifacts/test_buckets.py has it work
LIST_QUERY = {"page_size": "5"}


@dataclass(frozen=True)
class Operation:
    """One operation: its address with {parameters}, the query's names, and its JSON body's schema."""

    name: str
    method: str
    address: str
    path: tuple[str, ...]
    query: tuple[str, ...]
    body: Mapping[str, Any] | None
    binary: bool

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True)
class World:
    """A project with one of everything: values of path parameters, queries and bodies by operation."""

    person: Person
    values: Mapping[str, str]
    by_operation: Mapping[str, Mapping[str, str]]
    queries: Mapping[str, Mapping[str, Any]]
    bodies: Mapping[str, Any] = field(repr=False)
    binaries: Mapping[str, bytes] = field(repr=False)

    def path_of(self, operation: Operation, changes: Mapping[str, str] | None = None) -> str:
        """The address with percent-encoded values; `changes` come as they are to be sent."""
        known = {**self.values, **self.by_operation.get(operation.name, {})}
        sent = {name: quote(known[name], safe="/") for name in operation.path}
        return operation.address.format(**{**sent, **(changes or {})})

    def send(
        self,
        api: Any,
        operation: Operation,
        *,
        path: str = "",
        query: Mapping[str, str] | None = None,
        raw: bytes | None = None,
        content_type: str = "application/json",
        **headers: str,
    ) -> Any:
        """The operation as it works, with what is given instead."""
        address = path or self.path_of(operation)
        asked = self.queries.get(operation.name, {}) if query is None else query
        if asked:
            address += "?" + urlencode(asked, doseq=True, errors="surrogatepass")
        if operation.binary:
            content_type = "application/octet-stream"
            raw = self.binaries.get(operation.name, CONTENT) if raw is None else raw
        elif raw is None and operation.body is not None:
            raw = json.dumps(self.bodies[operation.name]).encode()
        return api.generic(
            operation.method.upper(), address, raw or b"", content_type=content_type, **headers
        )


def operations() -> list[Operation]:
    """All operations of the API's description, by name."""
    found = schema()
    return sorted(_operations(found), key=lambda operation: operation.name)


def _operations(found: Mapping[str, Any]) -> Iterator[Operation]:
    for address, item in found["paths"].items():
        for method, about in item.items():
            if method not in METHODS or not address.startswith("/api/v1/"):
                continue
            parameters = about.get("parameters", [])
            contents = about.get("requestBody", {}).get("content", {})
            reference = contents.get("application/json", {}).get("schema")
            yield Operation(
                name=about["operationId"],
                method=method,
                address=address,
                path=tuple(p["name"] for p in parameters if p["in"] == "path"),
                query=tuple(p["name"] for p in parameters if p["in"] == "query"),
                body=_resolved(found, reference) if reference else None,
                binary="application/octet-stream" in contents,
            )


def _resolved(found: Mapping[str, Any], reference: Mapping[str, Any]) -> Mapping[str, Any]:
    name = reference.get("$ref", "").rpartition("/")[2]
    resolved: Mapping[str, Any] = found["components"]["schemas"][name] if name else reference
    return resolved


def _begun(person: Person, content: bytes) -> str:
    """The id of an upload in parts that has all of them."""
    where = {"actor": person.actor, "project": person.project}
    upload = begin_upload(**where, sha256=hashlib.sha256(content).hexdigest(), size=len(content))
    stream = io.BytesIO(content)
    put_part(**where, upload_id=upload.public_id, number=1, stream=stream, size=len(content))
    return upload.public_id


def _asked(person: Person) -> tuple[ApprovalRequest, ApprovalPolicy]:
    """A contributor's request that waits for the project's maintainers."""
    bob = make_person(person.project, Role.CONTRIBUTOR)
    make_version(bob, "guarded")
    policy = set_approval_policy(actor=person.actor, project=person.project, model_name="guarded")
    request = transition_stage(
        actor=bob.actor, project=bob.project, model_name="guarded", ref=1, stage="Production"
    )
    assert isinstance(request, ApprovalRequest)
    return request, policy


def _rolled(person: Person) -> None:
    """A model whose second version took the first one's place in Production."""
    for number in (1, 2):
        make_version(person, "rolled")
        transition_stage(
            actor=person.actor,
            project=person.project,
            model_name="rolled",
            ref=number,
            stage="Production",
            archive_previous=True,
        )


ROLLOUTS = ("rollback_deployment", "promote_rollout", "abort_rollout", "set_shadow", "unset_shadow")


def _moving(person: Person) -> None:
    """An endpoint whose second revision gets a tenth of the requests, and a third one copies."""
    version = make_version(person, "moved")
    ModelVersion.objects.filter(pk=version.pk).update(servable=True, format="joblib")
    where = {"actor": person.actor, "project": person.project, "endpoint_name": "moving"}
    deploy(**where, model_name="moved", version=1)
    deployment = Deployment.objects.get(endpoint_name="moving")
    deployment.revisions.update(state="Active")
    Deployment.objects.filter(pk=deployment.pk).update(serving_revision=deployment.revisions.get())
    deploy(**where, model_name="moved", version=1, max_replicas=2, rollout={"steps": [10]})
    deployment.revisions.update(state="Active")
    Deployment.objects.filter(pk=deployment.pk).update(canary_percent=10)
    set_shadow(**where, version=1)


def make_world() -> World:
    """A project with an admin, a member, runs, versions (the second Quarantined), an alias, endpoints, a token."""
    ann = make_person(make_project("alpha"), username="ann")
    make_user("ray")
    set_member(actor=ann.actor, project=ann.project, username="ray", role="viewer")
    first = make_version(ann, "iris", files={"model/weights.txt": CONTENT, "z.txt": b"z"}, accuracy=0.5)
    second = make_version(ann, "iris", accuracy=0.75)
    ModelVersion.objects.filter(pk=second.pk).update(status=VersionStatus.QUARANTINED)
    where = {"actor": ann.actor, "project": ann.project, "model_name": "iris"}
    set_alias(**where, alias="best", version=1)
    registry_verbs.set_version_tag(**where, ref=1, key="k", value="v")
    Inspection.objects.create(manifest=first.manifest, rules="1", status=VersionStatus.READY)
    make_version(ann, "spare")
    gone = make_version(ann, "iris")
    trash.delete_version(**where, ref=gone.number)
    make_version(ann, "gone")
    trash.delete_model(actor=ann.actor, project=ann.project, name="gone")
    protection = protect(actor=ann.actor, project=ann.project, kind="stage", name="Archived")
    running = tracking_verbs.start_run(actor=ann.actor, project=ann.project, experiment_id="exp")
    parent = tracking_verbs.start_run(actor=ann.actor, project=ann.project, experiment_id="exp")
    deleted = tracking_verbs.start_run(actor=ann.actor, project=ann.project, experiment_id="exp")
    tracking_verbs.delete_run(actor=ann.actor, project=ann.project, run_id=deleted.public_id)
    alert = create_run_alert(
        actor=ann.actor, project=ann.project, run_id=parent.public_id, condition="loss > 9"
    )
    for name in ("down", "live"):
        deploy(**where, version=1, endpoint_name=name)
    _moving(ann)
    token, _ = create_token(
        actor=ann.actor, project=ann.project, name="spare", scopes=[Scope.READ], expires_in_days=3
    )
    upload, completed, aborted = (_begun(ann, content) for content in (CONTENT, b"complete", b"abort"))
    request, policy = _asked(ann)
    _rolled(ann)
    set_group(actor=ann.actor, project=ann.project, name="risk", members=["ray"])
    invitation = invite(actor=ann.actor, project=ann.project, email="asked@example.com", role="viewer")
    hook = create_webhook(actor=ann.actor, project=ann.project, name="hook", url="https://example.com/hook")
    message = ping_webhook(actor=ann.actor, project=ann.project, webhook_id=hook.public_id).message_id
    hook.deliveries.update(state="Failed")
    schedule = make_schedule(ann)
    execution = trigger(ann, schedule)
    dropped = make_schedule(ann, "dropped")
    delete_schedule(actor=ann.actor, project=ann.project, name=dropped.name)
    for name in ("flowers", "weeds"):
        tracking_verbs.log_dataset(
            actor=ann.actor, project=ann.project, run_id=running.public_id, name=name, path=f"data/{name}"
        )
    good, bad = Dataset.objects.order_by("name").values_list("pk", flat=True)
    mark_dataset(actor=ann.actor, project=ann.project, dataset_id=bad, reason="two columns were swapped")
    ScheduleExecution.objects.filter(pk=execution.pk).update(
        run=first.source_run, code=TrainingCode.objects.latest("pk")
    )
    source, experiment = first.source_run.public_id, first.source_run.experiment.public_id
    return World(
        person=ann,
        values={
            "project": "alpha",
            "name": "iris",
            "ref": "1",
            "alias": "best",
            "key": "k",
            "path": "z.txt",
            "prefix": token.prefix,
            "username": "ray",
            "experiment_id": experiment,
            "run_id": running.public_id,
            "alert_id": alert.public_id,
            "sha256": SHA256,
            "number": str(gone.number),
            "protection_id": str(protection.pk),
            "endpoint": "down",
            "upload_id": upload,
            "approval": request.public_id,
            "policy_id": str(policy.pk),
            "webhook": hook.public_id,
            "invitation_id": str(invitation.pk),
            "message": message,
            "schedule": "nightly",
            "execution": execution.public_id,
            "pk": str(dropped.pk),
            "schedule_id": str(dropped.pk),
            "dataset_id": str(good),
        },
        by_operation={
            "set_group": {"name": "risk"},
            "delete_group": {"name": "risk"},
            "release_version": {"ref": "2"},
            **{name: {"endpoint": "moving"} for name in ROLLOUTS},
            "rollback_model": {"name": "rolled"},
            "delete_model": {"name": "spare"},
            "restore_model": {"name": "gone"},
            "delete_version": {"name": "iris", "ref": "2"},
            "download_version_file": {"path": "weights.txt"},
            "download_run_file": {"run_id": source},
            "get_metric_history": {"run_id": source, "key": "accuracy"},
            "get_metrics": {"run_id": source},
            "list_run_files": {"run_id": source},
            "restore_run": {"run_id": deleted.public_id},
            "list_run_alerts": {"run_id": parent.public_id},
            "delete_run_alert": {"run_id": parent.public_id},
            "put_part": {"number": "1"},
            "complete_upload": {"upload_id": completed},
            "abort_upload": {"upload_id": aborted},
            "read_run_files": {"run_id": source},
            "get_run": {"run_id": source},
            "run_again": {"run_id": source},
            "clear_dataset": {"dataset_id": str(bad)},
        },
        queries={
            "get_schedule_times": {"cron": "0 2 * * *", "timezone": "Europe/Berlin"},
            "compare_versions": {"versions": "1,2"},
            "get_lineage": {"node": "version:iris/1"},
            "get_lineage_events": {"node": "version:iris/1"},
            "get_impact": {"node": "version:iris/1"},
            "delete_model": {"confirm": "spare"},
            "import_version": {"model": "imported"},
            "export_audit": {"format": "csv"},
            "compare_runs": {"run": [source, running.public_id]},
            "export_metrics": {"format": "csv"},
            "export_runs": {"format": "csv"},
            "get_metric_histories": {"run": source, "key": "accuracy", "points": "10"},
        },
        binaries={
            "import_version": b"".join(export_version(**where, ref=1).pieces),
            "store_blobs": f"{SHA256} {len(CONTENT)}\n".encode() + CONTENT,
        },
        bodies={
            "part_addresses": {"numbers": [1]},
            "use_model": {"model_name": "iris", "version": "best"},
            "mark_dataset": {"reason": "two columns were swapped"},
            "notify_owners": {"node": "version:iris/1", "message": "Look at it."},
            "quarantine_impact": {"node": "version:iris/1", "reason": "wrong labels", "endpoints": "keep"},
            "release_impact": {"node": "version:iris/1"},
            "run_again": {"configuration": {"epochs": 2}},
            "invite_member": {"email": "new@example.com", "role": "viewer"},
            "create_webhook": {
                "name": "ci",
                "url": "https://ci.example.com/hook",
                "events": ["version.*"],
                "format": "slack",
            },
            "update_webhook": {
                "name": "ci",
                "url": "https://ci.example.com/other",
                "events": [],
                "format": "teams",
                "is_active": False,
            },
            "read_notifications": {"ids": [1]},
            "set_notification_choice": {"kind": "approval_requested", "inbox": True, "email": False},
            "approve": {"comment": "fine"},
            "reject": {"comment": "too slow"},
            "cancel_approval": {"comment": "later"},
            "comment_approval": {"text": "why?"},
            "rollback_model": {"note": "worse", "bypass_reason": ""},
            "set_promotion_rules": {"one_production": True, "archive_previous": True},
            "set_approval_policy": {
                "stage": "Staging",
                "model_name": "iris",
                "approvals_needed": 1,
                "reviewers": ["ray"],
                "groups": [],
                "own_review": False,
                "bypass": True,
                "expires_days": 7,
                "checks": [{"check": "metric_at_least", "metric": "accuracy", "value": 0.9}],
            },
            "bulk": {
                "action": "set_version_tag",
                "items": [{"model_name": "iris", "version": 1, "value": "x"}],
                "common": {"key": "k", "value": "w"},
            },
            "log_validation_metrics": {"metrics": {"accuracy": 0.5}},
            "protect": {
                "kind": "alias",
                "name": "best",
                "model_name": "iris",
                "roles": ["admin", "contributor"],
                "groups": [],
            },
            "restore_model": {"as_name": "back"},
            "copy_version": {"to_project": "alpha", "to_model": "copied", "description": "d"},
            "create_experiment": {"name": "new", "description": "d", "tags": ["nlp"]},
            "create_schedule": {
                "name": "weekly",
                "experiment_id": "nightly",
                "cron": "0 2 * * 0",
                "timezone": "Europe/Berlin",
                "configuration": {"epochs": 3},
                "code": 1,
                "overlap": "queue",
                "catch_up": "last",
                "starting_deadline": 600,
                "timeout": 3600,
                "cpu_limit": 7200,
                "memory_limit": 1024,
                "file_size_limit": 512,
                "max_attempts": 2,
                "engine": "local",
                "model_name": "iris",
                "artifact_path": "model",
                "promote_metric": "accuracy",
                "promote_stage": "Production",
            },
            "begin_upload": {"sha256": "ab" * 32, "size": 100 << 20, "part_size": 64 << 20},
            "update_schedule": {
                "experiment_id": "nightly",
                "cron": "*/5 * * * *",
                "timezone": "UTC",
                "configuration": {"epochs": 4},
                "code": None,
                "overlap": "skip",
                "catch_up": "none",
                "starting_deadline": None,
                "timeout": 60,
                "cpu_limit": None,
                "memory_limit": None,
                "file_size_limit": None,
                "max_attempts": 1,
                "engine": "",
                "model_name": "iris",
                "artifact_path": "model",
                "promote_metric": "",
                "promote_stage": "",
            },
            "trigger_schedule": {"configuration": {"epochs": 1}},
            "upload_training_code": {
                "files": {"train.py": SHA256},
                "command": ["python", "train.py", "--fast"],
                "schema": {"type": "object", "properties": {"epochs": {"type": "integer"}}},
            },
            "create_token": {"name": "new", "scopes": ["read"], "expires_in_days": 3},
            "create_version": {
                "source_run_id": source,
                "artifact_path": "model",
                "description": "d",
                "tags": {"k": "v"},
                "parent": "iris/1",
                "relation": "fine_tuned",
            },
            "commit_files": {"files": [{"path": "b/c.txt", "sha256": SHA256}]},
            "deploy": {
                "model_name": "iris",
                "version": 1,
                "endpoint_name": "new",
                "gpu_type": "",
                "min_replicas": 1,
                "max_replicas": 2,
                "follow": False,
                "idle_seconds": 60,
                "max_batch_size": 8,
                "max_delay_ms": 5,
                "rollout": {"steps": [10, 50]},
                "engine": "local",
                "rate_limit": 100,
                "timeout_seconds": 30,
                "max_body_bytes": 1000000,
                "description": "d",
            },
            "end_run": {"status": "Failed", "error": "It broke."},
            "create_run_alert": {"condition": "val_loss > 2.0", "message": "It diverges."},
            "kill_run": {"reason": "It costs too much."},
            "log_dataset": {
                "name": "iris.csv",
                "path": "data/iris.csv",
                "description": "d",
                "digest": "0",
                "context": "training",
            },
            "log_metrics": {
                "series": [{"key": "loss", "values": [0.5, "NaN"], "steps": [1, 2], "timestamps": [1, 2]}]
            },
            "log_params": {"params": {"depth": 3}},
            "missing_blobs": {"sha256": [SHA256]},
            "read_run_files": {"paths": ["z.txt"]},
            "read_version_files": {"paths": ["weights.txt"]},
            "register_model": {"name": "new", "description": "d", "tags": ["nlp"]},
            "quarantine_version": {"reason": "It answers nonsense.", "endpoints": "keep"},
            "release_version": {"note": "Looked at by hand."},
            "set_alias": {"version": 2},
            "set_group": {"members": ["ann", "ray"]},
            "set_member": {"role": Role.CONTRIBUTOR.value},
            "set_version_tag": {"value": "w"},
            "start_run": {
                "experiment_id": "exp",
                "id": "run-abcdef123456",
                "name": "first",
                "tags": {"k": "v"},
                "parent_run_id": parent.public_id,
                "code_version": "abc",
                "environment": {"system": {"python": "3.12.1"}},
            },
            "transition_stage": {
                "stage": "Staging",
                "note": "n",
                "archive_previous": True,
                "bypass_reason": "",
            },
            "rollback_deployment": {"revision": None},
            "set_shadow": {"version": 1},
            "update_deployment": {
                "version": 1,
                "gpu_type": "",
                "min_replicas": 1,
                "max_replicas": 3,
                "follow": False,
                "idle_seconds": 60,
                "max_batch_size": 8,
                "max_delay_ms": 5,
                "rollout": {"steps": [10, 50]},
                "engine": "",
                "rate_limit": 100,
                "timeout_seconds": 30,
                "max_body_bytes": 1000000,
                "description": "e",
            },
            "update_experiment": {"name": "renamed", "description": "e", "tags": ["cv"]},
            "update_model": {"description": "e", "tags": ["cv"]},
            "update_run": {"name": "renamed", "notes": "n", "tags": {"k": "w"}},
            "update_version": {"description": "e"},
        },
    )
