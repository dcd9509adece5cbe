"""What the client answers: frozen dataclasses with the server's field names as attributes.

A field that this version of the SDK does not know is an attribute too, so that a newer server needs no
newer SDK; one that the server leaves out has its default. Times are aware datetimes in UTC, sizes are bytes,
digests are lower-case sha256 in hex. `None` stands for "there is none".
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from datetime import datetime
from typing import TYPE_CHECKING, Any, Self

from podstack.errors import DeploymentFailed
from podstack.values import parse_numbers

if TYPE_CHECKING:
    from podstack.deployments import DeploymentCalls

FIRST_WAIT, LONGEST_WAIT = 0.1, 1.0
OVER = frozenset({"Failed", "Inactive", "Undeploying"})


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What all answers share."""

    extra: Mapping[str, Any] = field(default_factory=dict, repr=False)

    @classmethod
    def from_json(cls, data: Mapping[str, Any], **own: Any) -> Self:
        """An answer out of a JSON object; `own` sets fields that do not come from the server."""
        known = {f.name: f.metadata.get("parse") for f in fields(cls) if f.name not in ("extra", *own)}
        values = {
            name: data[name] if parse is None or data[name] is None else parse(data[name])
            for name, parse in known.items()
            if name in data
        }
        extra = {name: value for name, value in data.items() if name not in known}
        return cls(extra=extra, **values, **own)

    def __getattr__(self, name: str) -> Any:
        extra = object.__getattribute__(self, "__dict__").get("extra", {})
        if name in extra:
            return extra[name]
        raise AttributeError(f"{type(self).__name__} has no attribute {name!r}.")


def _parsed(parse: Callable[[Any], Any], default: Any) -> Any:
    return field(default=default, metadata={"parse": parse})


def _time() -> Any:
    return _parsed(parse_time, None)


def _many(kind: type[Answer]) -> Any:
    return _parsed(lambda items: tuple(kind.from_json(item) for item in items), ())


def _dict() -> Any:
    return field(default_factory=dict)


def _numbers() -> Any:
    return field(default_factory=dict, metadata={"parse": parse_numbers})


def parse_time(text: str) -> datetime:
    """An ISO 8601 time of the server."""
    return datetime.fromisoformat(text)


@dataclass(frozen=True, kw_only=True)
class Me(Answer):
    """Whose token this is; `projects` holds {"slug", "name", "role"}, `token` is None without one."""

    user: Mapping[str, Any] = _dict()
    token: Mapping[str, Any] | None = None
    projects: tuple[Mapping[str, Any], ...] = _parsed(tuple, ())
    server: Mapping[str, Any] = _dict()


@dataclass(frozen=True, kw_only=True)
class Experiment(Answer):
    """A named group of runs."""

    id: str = ""
    name: str = ""
    description: str = ""
    tags: tuple[str, ...] = _parsed(tuple, ())
    created_at: datetime | None = _time()
    created_by: str | None = None
    archived_at: datetime | None = _time()
    run_count: int = 0
    url: str = ""


@dataclass(frozen=True, kw_only=True)
class Dataset(Answer):
    """Data that a run used."""

    name: str = ""
    path: str = ""
    description: str = ""
    digest: str = ""
    context: str = ""


def _summary(data: Mapping[str, Any]) -> Mapping[str, Any]:
    return {key: MetricSummary.from_json(value) for key, value in data.items()}


@dataclass(frozen=True, kw_only=True)
class MetricSummary(Answer):
    """One metric's last, lowest and highest value, and how many points it has."""

    last: float | None = _parsed(parse_numbers, None)
    last_step: int | None = None
    min: float | None = _parsed(parse_numbers, None)
    max: float | None = _parsed(parse_numbers, None)
    count: int = 0


@dataclass(frozen=True, kw_only=True)
class Run(Answer):
    """A run as the server keeps it; `metrics` holds each key's last value.

    `environment` is what the recording process saw: {"system", "packages", "git"}.
    """

    id: str = ""
    experiment_id: str = ""
    experiment_name: str = ""
    name: str = ""
    status: str = ""
    error: str = ""
    notes: str = ""
    params: Mapping[str, Any] = _dict()
    metrics: Mapping[str, float] = _numbers()
    metric_summary: Mapping[str, MetricSummary] = field(default_factory=dict, metadata={"parse": _summary})
    tags: Mapping[str, str] = _dict()
    datasets: tuple[Dataset, ...] = _many(Dataset)
    artifact_count: int = 0
    artifact_bytes: int = 0
    parent_run_id: str | None = None
    code_version: str = ""
    environment: Mapping[str, Any] = _dict()
    created_by: str | None = None
    started_at: datetime | None = _time()
    ended_at: datetime | None = _time()
    deleted_at: datetime | None = _time()
    duration_seconds: float | None = None
    url: str = ""


@dataclass(frozen=True, kw_only=True)
class Alert(Answer):
    """A condition on one metric of a run; `fired_at`, `fired_value`, `fired_step`: the first value that met it."""

    id: str = ""
    condition: str = ""
    metric: str = ""
    message: str = ""
    created_by: str | None = None
    created_at: datetime | None = _time()
    fired_at: datetime | None = _time()
    fired_value: float | None = _parsed(parse_numbers, None)
    fired_step: int | None = None


@dataclass(frozen=True, kw_only=True)
class MetricHistory(Answer):
    """One metric's points: three tuples of equal length; `timestamps` are milliseconds since 1970, UTC.

    `total` counts the points of the range asked for; `thinned` says whether some of them were left out.
    """

    key: str = ""
    steps: tuple[int, ...] = _parsed(tuple, ())
    values: tuple[float, ...] = _parsed(parse_numbers, ())
    timestamps: tuple[int, ...] = _parsed(tuple, ())
    total: int = 0
    thinned: bool = False


@dataclass(frozen=True, kw_only=True)
class RunMetricHistory(MetricHistory):
    """The same among those of several runs."""

    run_id: str = ""


@dataclass(frozen=True, kw_only=True)
class ArtifactFile(Answer):
    """One stored file: path with `/`, size in bytes, sha256 in hex."""

    path: str = ""
    size: int = 0
    sha256: str = ""


@dataclass(frozen=True, kw_only=True)
class VersionRef(Answer):
    """A version as another answer mentions it."""

    version: int = 0
    stage: str = ""


@dataclass(frozen=True, kw_only=True)
class Model(Answer):
    """A registered model; `aliases` maps each alias to a version number."""

    name: str = ""
    description: str = ""
    tags: tuple[str, ...] = _parsed(tuple, ())
    latest_version: VersionRef | None = _parsed(VersionRef.from_json, None)
    production_version: VersionRef | None = _parsed(VersionRef.from_json, None)
    version_count: int = 0
    aliases: Mapping[str, int] = _dict()
    live_endpoints: tuple[str, ...] = _parsed(tuple, ())
    created_by: str | None = None
    created_at: datetime | None = _time()
    updated_at: datetime | None = _time()
    url: str = ""


@dataclass(frozen=True, kw_only=True)
class ParentVersion(Answer):
    """The version that another was made from, and what that one is to it."""

    model_name: str = ""
    version: int = 0
    relation: str = ""


@dataclass(frozen=True, kw_only=True)
class ModelVersion(Answer):
    """One version of a model: `version` is its number, `stage` None, Staging, Production or Archived."""

    model_name: str = ""
    version: int = 0
    stage: str = "None"
    status: str = ""
    status_reason: str = ""
    description: str = ""
    source_run_id: str | None = None
    experiment_id: str | None = None
    experiment_name: str | None = None
    artifact_path: str = ""
    manifest_digest: str = ""
    file_count: int = 0
    size: int = 0
    format: str = ""
    framework: str = ""
    servable: bool = False
    servable_reason: str = ""
    metrics: Mapping[str, float] = _numbers()
    validation_metrics: Mapping[str, float] = _numbers()
    params: Mapping[str, Any] = _dict()
    tags: Mapping[str, str] = _dict()
    aliases: tuple[str, ...] = _parsed(tuple, ())
    parent: ParentVersion | None = _parsed(ParentVersion.from_json, None)
    origin: Mapping[str, Any] | None = None
    created_by: str | None = None
    created_by_door: str = ""
    created_at: datetime | None = _time()
    updated_at: datetime | None = _time()
    url: str = ""


@dataclass(frozen=True, kw_only=True)
class BundleKey(Answer):
    """A server's public key in base64, and the 16 hex digits by which people speak of it."""

    algorithm: str = ""
    key_id: str = ""
    public_key: str = ""


@dataclass(frozen=True, kw_only=True)
class Inspection(Answer):
    """What a worker found in a version's files.

    `details`: files (path, size, type), parameters (their number), tensor_bytes, tensors (name, dtype, shape),
    signature ({"inputs", "outputs"} of {"name", "dtype", "shape"}, or None), notes.
    """

    manifest_digest: str = ""
    status: str = ""
    status_reason: str = ""
    format: str = ""
    framework: str = ""
    servable: bool = False
    servable_reason: str = ""
    rules: str = ""
    inspected_at: datetime | None = _time()
    details: Mapping[str, Any] = _dict()


@dataclass(frozen=True, kw_only=True)
class Invitation(Answer):
    """Somebody who was asked by e-mail to join, and has not yet."""

    id: int = 0
    email: str = ""
    role: str = ""
    created_by: str = ""
    created_at: datetime | None = _time()
    expires_at: datetime | None = _time()


@dataclass(frozen=True, kw_only=True)
class Webhook(Answer):
    """An address that is told of what happens in the project; `secret` is there only when it was just made."""

    id: str = ""
    name: str = ""
    url: str = ""
    events: list[str] = field(default_factory=list)
    format: str = "standard"
    is_active: bool = True
    off_reason: str = ""
    secret: str = field(default="", repr=False)
    created_by: str = ""
    created_at: datetime | None = _time()
    updated_at: datetime | None = _time()


@dataclass(frozen=True, kw_only=True)
class WebhookDelivery(Answer):
    """One event for one webhook, and what became of its last attempt: Waiting, Delivered or Failed."""

    message_id: str = ""
    event: str = ""
    payload: dict[str, Any] = _dict()
    state: str = ""
    attempts: int = 0
    created_at: datetime | None = _time()
    tried_at: datetime | None = _time()
    request: str = ""
    status: int | None = None
    response: str = ""
    error: str = ""
    duration_ms: int | None = None


@dataclass(frozen=True, kw_only=True)
class Notification(Answer):
    """What you were told; `path` is the portal's page to look at."""

    id: int = 0
    kind: str = ""
    text: str = ""
    path: str = ""
    created_at: datetime | None = _time()
    read_at: datetime | None = _time()


@dataclass(frozen=True, kw_only=True)
class NotificationChoice(Answer):
    """Where one kind of notice reaches you, in all projects."""

    kind: str = ""
    label: str = ""
    inbox: bool = True
    email: bool = False


@dataclass(frozen=True, kw_only=True)
class Review(Answer):
    """A vote, "approve" or "reject"; once the evidence changed it is not fresh and counts no more."""

    reviewer: str = ""
    vote: str = ""
    comment: str = ""
    evidence: str = ""
    is_fresh: bool = True
    door: str = ""
    created_at: datetime | None = _time()


@dataclass(frozen=True, kw_only=True)
class ApprovalEvent(Answer):
    """A comment (`author` set), or something that happened to a request."""

    kind: str = ""
    text: str = ""
    author: str | None = None
    created_at: datetime | None = _time()


@dataclass(frozen=True, kw_only=True)
class CheckResult(Answer):
    """What a policy's check found, and what would be right."""

    check: str = ""
    passed: bool = False
    found: str = ""
    wanted: str = ""


@dataclass(frozen=True, kw_only=True)
class Approval(Answer):
    """A stage change that waits for reviewers ("Pending"), or what became of it.

    `status` is Pending, Approved, Rejected, Cancelled, Expired, Superseded or Bypassed; `reason` says why.
    """

    id: str = ""
    status: str = ""
    model_name: str = ""
    version: int = 0
    from_stage: str = ""
    to_stage: str = ""
    note: str = ""
    archive_previous: bool = False
    approvals_needed: int = 1
    approvals_given: int = 0
    requester: str = ""
    author: str = ""
    evidence: str = ""
    checks: tuple[CheckResult, ...] = _many(CheckResult)
    reviews: tuple[Review, ...] = _many(Review)
    events: tuple[ApprovalEvent, ...] = _many(ApprovalEvent)
    reason: str = ""
    decided_by: str | None = None
    decided_at: datetime | None = _time()
    created_at: datetime | None = _time()
    expires_at: datetime | None = _time()


@dataclass(frozen=True, kw_only=True)
class ApprovalPolicy(Answer):
    """Who must approve a move to `stage`, and what must hold; of one model, or of all where `model_name` is None.

    Without reviewers and groups, every maintainer and admin of the project may review.
    """

    id: int = 0
    model_name: str | None = None
    stage: str = ""
    approvals_needed: int = 1
    reviewers: list[str] = field(default_factory=list)
    groups: list[str] = field(default_factory=list)
    own_review: bool = False
    bypass: bool = False
    expires_days: int = 14
    checks: list[dict[str, Any]] = field(default_factory=list)
    created_by: str = ""
    created_at: datetime | None = _time()
    updated_at: datetime | None = _time()


@dataclass(frozen=True, kw_only=True)
class PromotionRules(Answer):
    """What holds for Production: at most one version of a model, and whether what stood there is archived."""

    one_production: bool = False
    archive_previous: bool = False


@dataclass(frozen=True, kw_only=True)
class StageTransition(Answer):
    """A move between stages. `status` is "applied", or "pending_approval" with `approval` set."""

    status: str = "applied"
    model_name: str = ""
    version: int = 0
    from_stage: str = ""
    to_stage: str = ""
    note: str = ""
    actor: str | None = None
    created_at: datetime | None = _time()
    approved_by: list[str] = field(default_factory=list)
    bypass_reason: str = ""
    approval_id: str = ""
    approval: Approval | None = _parsed(Approval.from_json, None)


@dataclass(frozen=True, kw_only=True)
class Alias(Answer):
    """A name that points to a version."""

    alias: str = ""
    version: int = 0
    updated_at: datetime | None = _time()


@dataclass(frozen=True, kw_only=True)
class StoodInStage(Answer):
    """A version's stage at a moment, since when, who put it there, who approved it and on what evidence."""

    version: int = 0
    stage: str = ""
    since: datetime | None = _time()
    by: str = ""
    door: str = ""
    note: str = ""
    approval_id: str = ""
    approved_by: list[str] = field(default_factory=list)
    evidence: str = ""
    bypass_reason: str = ""


@dataclass(frozen=True, kw_only=True)
class PointedTo(Answer):
    """Where an alias pointed at a moment, since when, and who put it there."""

    alias: str = ""
    version: int = 0
    since: datetime | None = _time()
    by: str = ""
    door: str = ""


@dataclass(frozen=True, kw_only=True)
class Standing(Answer):
    """How a model stood at a moment, Production first."""

    as_of: datetime | None = _time()
    stages: tuple[StoodInStage, ...] = _many(StoodInStage)
    aliases: tuple[PointedTo, ...] = _many(PointedTo)

    @property
    def production(self) -> StoodInStage | None:
        """The newest version that stood in Production."""
        return next((each for each in self.stages if each.stage == "Production"), None)


@dataclass(frozen=True, kw_only=True)
class Trashed(Answer):
    """What can come back until `permanent_at`; `version` is None for a model with all its versions."""

    model_name: str = ""
    version: int | None = None
    version_count: int = 0
    deleted_at: datetime | None = _time()
    deleted_by: str | None = None
    permanent_at: datetime | None = _time()


@dataclass(frozen=True, kw_only=True)
class Protection(Answer):
    """Who alone may move an alias or a stage; `model_name` is None where it is about all models."""

    id: int = 0
    kind: str = ""
    name: str = ""
    model_name: str | None = None
    roles: tuple[str, ...] = _parsed(tuple, ())
    groups: tuple[str, ...] = _parsed(tuple, ())
    created_by: str = ""
    created_at: datetime | None = _time()


@dataclass(frozen=True, kw_only=True)
class Member(Answer):
    """A member of the project: viewer, contributor, maintainer or admin."""

    username: str = ""
    role: str = ""
    created_at: datetime | None = _time()


@dataclass(frozen=True, kw_only=True)
class Token(Answer):
    """An API token. `token` is its text, which only `create_token` answers with, once; else empty."""

    name: str = ""
    prefix: str = ""
    scopes: tuple[str, ...] = _parsed(tuple, ())
    project: str | None = None
    created_at: datetime | None = _time()
    expires_at: datetime | None = _time()
    last_used_at: datetime | None = _time()
    revoked_at: datetime | None = _time()
    token: str = field(default="", repr=False)


@dataclass(frozen=True, kw_only=True)
class AuditEntry(Answer):
    """Who did what to which thing; `before` and `after` hold what changed, None where there was nothing."""

    id: int = 0
    at: datetime | None = _time()
    actor: str | None = None
    token_prefix: str = ""
    door: str = ""
    verb: str = ""
    object_type: str = ""
    object_id: str = ""
    before: Mapping[str, Any] | None = None
    after: Mapping[str, Any] | None = None
    request_id: str = ""


@dataclass(frozen=True, kw_only=True)
class Outcome(Answer):
    """What became of one item of a bulk act; `error` is the refusal, a problem document, or None."""

    model_name: str = ""
    version: int | str | None = None
    ok: bool = False
    error: Mapping[str, Any] | None = None


@dataclass(frozen=True, kw_only=True)
class ComparedRow(Answer):
    """One parameter or tag over all compared versions, None where a version lacks it."""

    key: str = ""
    values: tuple[Any, ...] = _parsed(tuple, ())
    differs: bool = False


@dataclass(frozen=True, kw_only=True)
class ComparedMetric(ComparedRow):
    """One metric over all compared versions, and each value's distance to the first version's."""

    values: tuple[float | None, ...] = _parsed(parse_numbers, ())
    differences: tuple[float | None, ...] = _parsed(parse_numbers, ())
    direction: str = "unknown"
    best: int | None = None


@dataclass(frozen=True, kw_only=True)
class ComparedFile(Answer):
    """One path over all compared versions. `changes`, to the first version: same, added, removed or changed."""

    path: str = ""
    sha256: tuple[str | None, ...] = _parsed(tuple, ())
    sizes: tuple[int | None, ...] = _parsed(tuple, ())
    changes: tuple[str, ...] = _parsed(tuple, ())
    differs: bool = False


@dataclass(frozen=True, kw_only=True)
class Comparison(Answer):
    """Versions side by side, in the order asked for; rows that differ come first. `datasets`: digests by name."""

    versions: tuple[ModelVersion, ...] = _many(ModelVersion)
    metrics: tuple[ComparedMetric, ...] = _many(ComparedMetric)
    validation_metrics: tuple[ComparedMetric, ...] = _many(ComparedMetric)
    params: tuple[ComparedRow, ...] = _many(ComparedRow)
    tags: tuple[ComparedRow, ...] = _many(ComparedRow)
    datasets: tuple[ComparedRow, ...] = _many(ComparedRow)
    files: tuple[ComparedFile, ...] = _many(ComparedFile)
    files_left_out: int = 0


@dataclass(frozen=True, kw_only=True)
class RunComparison(Answer):
    """Runs side by side, in the order asked for; rows that differ come first. Metrics are final values."""

    runs: tuple[Run, ...] = _many(Run)
    metrics: tuple[ComparedMetric, ...] = _many(ComparedMetric)
    params: tuple[ComparedRow, ...] = _many(ComparedRow)
    tags: tuple[ComparedRow, ...] = _many(ComparedRow)
    datasets: tuple[ComparedRow, ...] = _many(ComparedRow)
    files: tuple[ComparedFile, ...] = _many(ComparedFile)
    files_left_out: int = 0


@dataclass(frozen=True, kw_only=True)
class TrainingCode(Answer):
    """A folder of code and the command that trains with it; it never changes. `size` in bytes."""

    number: int = 0
    experiment_id: str = ""
    command: tuple[str, ...] = _parsed(tuple, ())
    schema: Mapping[str, Any] | None = None
    digest: str = ""
    file_count: int = 0
    size: int = 0
    created_by: str | None = None
    created_at: datetime | None = _time()


@dataclass(frozen=True, kw_only=True)
class Schedule(Answer):
    """When an experiment's training code runs, and with what.

    `code` None is the newest at each start; starting_deadline and timeout in seconds, memory_limit in MiB.
    """

    name: str = ""
    experiment_id: str = ""
    experiment_name: str = ""
    cron: str = ""
    timezone: str = "UTC"
    words: str = ""
    configuration: Mapping[str, Any] = field(default_factory=dict)
    code: int | None = None
    overlap: str = "skip"
    catch_up: str = "none"
    starting_deadline: int | None = None
    timeout: int = 0
    memory_limit: int | None = None
    max_attempts: int = 1
    model_name: str = ""
    artifact_path: str = ""
    promote_metric: str = ""
    promote_stage: str = ""
    paused: bool = False
    next_at: datetime | None = _time()
    next_times: tuple[datetime, ...] = _parsed(lambda texts: tuple(parse_time(text) for text in texts), ())
    created_by: str | None = None
    created_at: datetime | None = _time()
    updated_at: datetime | None = _time()


@dataclass(frozen=True, kw_only=True)
class ScheduleTimes(Answer):
    """What a cron expression says, in words, and its next times."""

    cron: str = ""
    timezone: str = "UTC"
    words: str = ""
    next_times: tuple[datetime, ...] = _parsed(lambda texts: tuple(parse_time(text) for text in texts), ())


@dataclass(frozen=True, kw_only=True)
class ScheduleExecution(Answer):
    """One moment of a schedule, or one Run now, and what became of it.

    `state` is Queued, Running, Succeeded, Failed, Killed, Skipped or Missed; duration and cpu_seconds in seconds,
    peak_memory in bytes; `version` is "name/3" where one was registered, `outcome` says what became of that.
    """

    id: str = ""
    schedule: str = ""
    trigger: str = ""
    due_at: datetime | None = _time()
    state: str = ""
    reason: str = ""
    end_reason: str = ""
    outcome: str = ""
    attempt: int = 1
    configuration: Mapping[str, Any] = field(default_factory=dict)
    code: int | None = None
    run_id: str | None = None
    version: str | None = None
    exit_code: int | None = None
    duration: float | None = None
    cpu_seconds: float | None = None
    peak_memory: int | None = None
    created_by: str | None = None
    created_at: datetime | None = _time()
    started_at: datetime | None = _time()
    ended_at: datetime | None = _time()


@dataclass(frozen=True, kw_only=True)
class LogPiece(Answer):
    """What a program wrote between two offsets in bytes; with `ended`, nothing more will come."""

    text: str = ""
    next_offset: int = 0
    ended: bool = False


@dataclass(frozen=True, kw_only=True)
class Deployment(Answer):
    """An endpoint as it was when it was asked for; `refresh()` asks again.

    `version` is the one wanted, `serving_version` the one that answers now (None: none does).
    """

    endpoint_name: str = ""
    model_name: str = ""
    version: int = 0
    serving_version: int | None = None
    gpu_type: str = ""
    min_replicas: int = 1
    max_replicas: int = 1
    description: str = ""
    state: str = ""
    reason: str = ""
    warnings: tuple[str, ...] = _parsed(tuple, ())
    endpoint_url: str = ""
    revision: int = 0
    created_by: str | None = None
    created_at: datetime | None = _time()
    updated_at: datetime | None = _time()
    url: str = ""
    calls: DeploymentCalls = field(repr=False, compare=False)

    def refresh(self) -> Deployment:
        """The endpoint as it is now."""
        return self.calls.get_deployment(self.endpoint_name)

    def wait(self, timeout: float = 120) -> Deployment:
        """Returns the endpoint once it is Active.

        DeploymentFailed with the reason when it fails, is taken down, or is not Active after `timeout` s.
        """
        deadline, pause = time.monotonic() + timeout, FIRST_WAIT
        current = self.refresh()
        while current.state != "Active":
            current._raise_if_over()
            if time.monotonic() >= deadline:
                raise DeploymentFailed(
                    f"{self.endpoint_name} is still {current.state} after {timeout:g} s.",
                    hint=current.reason or "Wait again, or see the endpoint's events in the portal.",
                    code="deployment_timeout",
                )
            time.sleep(min(pause, max(0.0, deadline - time.monotonic())))
            pause = min(pause * 1.5, LONGEST_WAIT)
            current = self.refresh()
        return current

    def _raise_if_over(self) -> None:
        old_goes_on = self.state == "Degraded" and self.serving_version not in (None, self.version)
        if self.state in OVER or old_goes_on:
            reason = self.reason or f"{self.endpoint_name} is {self.state}."
            raise DeploymentFailed(reason, hint="" if self.reason else "Deploy it again.")

    def predict(self, rows: Any) -> list[Any]:
        """One prediction per row; rows are lists of numbers, dictionaries by column, arrays or tables."""
        return self.calls.predict(self.endpoint_name, rows)
