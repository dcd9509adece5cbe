"""What a policy asks of a version before anybody is asked to review it."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from approvals.choices import CheckKind
from common.checks import check_text, shorten
from common.directions import direction_of
from common.errors import Invalid
from registry.choices import MetricKind, Stage, VersionStatus
from registry.models import ModelVersion, VersionMetric, VersionTag
from tracking.queries import datasets_of

MOST_CHECKS = 20
KEY_LENGTH = 250
Rule = Mapping[str, Any]


@dataclass(frozen=True)
class Finding:
    """A check's result. `found`: what there is; `wanted`: what would satisfy it; whole sentences."""

    check: str
    passed: bool
    found: str
    wanted: str


@dataclass(frozen=True)
class Facts:
    """What checks read of a version and of the one that stands in Production."""

    metrics: Mapping[str, float]
    tags: Mapping[str, str]
    champion: int | None
    champion_metrics: Mapping[str, float]
    datasets: int
    is_clean: bool
    description: str


@dataclass(frozen=True)
class Evidence:
    """What reviewers judge: its digest goes with each vote."""

    digest: str
    findings: tuple[Finding, ...]

    @property
    def failed(self) -> list[Finding]:
        return [finding for finding in self.findings if not finding.passed]

    def as_json(self) -> list[dict[str, Any]]:
        return [asdict(finding) for finding in self.findings]


def evidence_of(version: ModelVersion, rules: Sequence[Rule]) -> Evidence:
    """The SHA-256 over the version's files, metrics, annotations and check results, and these results."""
    facts = _facts(version)
    findings = tuple(CHECKS[rule["check"]].judge(rule, facts) for rule in rules)
    metrics = VersionMetric.objects.filter(version=version).order_by("kind", "key")
    content = {
        "manifest": version.manifest.digest,
        "metrics": [
            [kind, key, repr(value)] for kind, key, value in metrics.values_list("kind", "key", "value")
        ],
        "tags": sorted(facts.tags.items()),
        "checks": [asdict(finding) for finding in findings],
    }
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return Evidence(hashlib.sha256(text.encode()).hexdigest(), findings)


def check_rules(rules: object) -> list[dict[str, Any]]:
    """The checks of a policy in their one form; Invalid names the field that is wrong.

    {"check": "metric_at_least" or "metric_at_most", "metric", "value"}, {"check": "not_worse", "metric",
    "tolerance"}, {"check": "tag", "key", "value"}, {"check": "dataset" | "scan_clean" | "description"}.
    """
    if not isinstance(rules, list | tuple):
        raise Invalid.field("checks", f"checks is {shorten(rules)}; it must be a list of objects.")
    if len(rules) > MOST_CHECKS:
        raise Invalid.field("checks", f"checks has {len(rules)} entries; at most {MOST_CHECKS} are allowed.")
    return [_rule(index, rule) for index, rule in enumerate(rules)]


def _rule(index: int, rule: object) -> dict[str, Any]:
    at = f"checks.{index}"
    named = rule.get("check") if isinstance(rule, Mapping) else None
    if not isinstance(rule, Mapping) or not isinstance(named, str) or named not in CHECKS:
        known = ", ".join(CHECKS)
        raise Invalid.field(at, f"{at} is {shorten(rule)}; it needs a check, one of {known}.")
    words = CHECKS[named].words
    for name in rule:
        if name != "check" and name not in words:
            raise Invalid.field(at, f"{at}.{shorten(str(name))} is no word of the check {rule['check']}.")
    return {
        "check": rule["check"],
        **{name: take(f"{at}.{name}", rule.get(name)) for name, take in words.items()},
    }


def _facts(version: ModelVersion) -> Facts:
    rows = ModelVersion.objects.filter(model=version.model_id, stage=Stage.PRODUCTION, deleted_at=None)
    champion = rows.exclude(pk=version.pk).order_by("-number").first()
    inspection = getattr(version.manifest, "inspection", None)
    return Facts(
        metrics=metrics_of(version),
        tags=dict(VersionTag.objects.filter(version=version).values_list("key", "value")),
        champion=None if champion is None else champion.number,
        champion_metrics={} if champion is None else metrics_of(champion),
        datasets=len(datasets_of(version.source_run)),
        is_clean=inspection is not None and inspection.status == VersionStatus.READY,
        description=version.description.strip(),
    )


def metrics_of(version: ModelVersion) -> dict[str, float]:
    """The value that counts of each metric: a later validation's before the training's own."""
    rows = VersionMetric.objects.filter(version=version).values_list("kind", "key", "value")
    found = {key: value for kind, key, value in rows if kind == MetricKind.TRAINING}
    return found | {key: value for kind, key, value in rows if kind == MetricKind.VALIDATION}


def _at_least(rule: Rule, facts: Facts) -> Finding:
    return _bound(rule, facts, "at least", lambda found, asked: found >= asked)


def _at_most(rule: Rule, facts: Facts) -> Finding:
    return _bound(rule, facts, "at most", lambda found, asked: found <= asked)


def _bound(rule: Rule, facts: Facts, words: str, fits: Callable[[float, float], bool]) -> Finding:
    key, asked = rule["metric"], rule["value"]
    found = facts.metrics.get(key)
    passed = found is not None and fits(found, asked)
    return Finding(rule["check"], passed, _told(key, found), f"{key} must be {words} {asked:g}.")


def _not_worse(rule: Rule, facts: Facts) -> Finding:
    key, tolerance = rule["metric"], rule["tolerance"]
    found, theirs = facts.metrics.get(key), facts.champion_metrics.get(key)
    told = _told(key, found)
    if facts.champion is None or theirs is None or math.isnan(theirs):
        wanted = f"{key} must be logged; no version in Production has it to compare with."
        return Finding(rule["check"], found is not None and not math.isnan(found), told, wanted)
    lower = direction_of(key) == "lower"
    limit = theirs + tolerance if lower else theirs - tolerance
    passed = found is not None and (found <= limit if lower else found >= limit)
    words = "at most" if lower else "at least"
    wanted = f"{key} must be {words} {limit:g}: version {facts.champion} in Production has {theirs:g}."
    return Finding(rule["check"], passed, told, wanted)


def _tag(rule: Rule, facts: Facts) -> Finding:
    key, value = rule["key"], rule["value"]
    found = facts.tags.get(key)
    told = f"{key} is {shorten(found)}." if found is not None else f"There is no annotation {key}."
    wanted = (
        f"The annotation {key} must be {shorten(value)}." if value else f"The annotation {key} must be set."
    )
    return Finding(rule["check"], found is not None and value in ("", found), told, wanted)


def _dataset(rule: Rule, facts: Facts) -> Finding:
    told = f"{facts.datasets} recorded by its run." if facts.datasets else "Its run recorded no dataset."
    return Finding(rule["check"], facts.datasets > 0, told, "The source run must record a dataset.")


def _scan_clean(rule: Rule, facts: Facts) -> Finding:
    told = "Its files are clean." if facts.is_clean else "Its files were not found clean."
    wanted = "The scan must find all files clean; a release by hand is not enough."
    return Finding(rule["check"], facts.is_clean, told, wanted)


def _description(rule: Rule, facts: Facts) -> Finding:
    told = "It has a description." if facts.description else "It has no description."
    return Finding(rule["check"], bool(facts.description), told, "A description must be written.")


def _told(key: str, found: float | None) -> str:
    return f"{key} was not logged." if found is None else f"{key} is {found:g}."


def _key(at: str, value: object) -> str:
    return check_text(at, value, max_length=KEY_LENGTH, required=True)


def _value(at: str, value: object) -> str:
    return check_text(at, "" if value is None else value, max_length=5000)


def _number(at: str, value: object) -> float:
    try:
        found = math.nan if isinstance(value, bool) or not isinstance(value, int | float) else float(value)
    except OverflowError:
        found = math.inf
    if not math.isfinite(found):
        raise Invalid.field(at, f"{at} is {shorten(value)}; it must be a number.")
    return found


def _tolerance(at: str, value: object) -> float:
    found = _number(at, 0.0 if value is None else value)
    if found < 0:
        raise Invalid.field(at, f"{at} is {found:g}; it must be at least 0.")
    return found


@dataclass(frozen=True)
class Check:
    """How a check is judged, and the words that it takes beside its name."""

    judge: Callable[[Rule, Facts], Finding]
    words: Mapping[str, Callable[[str, object], Any]]


CHECKS: dict[str, Check] = {
    CheckKind.METRIC_AT_LEAST: Check(_at_least, {"metric": _key, "value": _number}),
    CheckKind.METRIC_AT_MOST: Check(_at_most, {"metric": _key, "value": _number}),
    CheckKind.NOT_WORSE: Check(_not_worse, {"metric": _key, "tolerance": _tolerance}),
    CheckKind.TAG: Check(_tag, {"key": _key, "value": _value}),
    CheckKind.DATASET: Check(_dataset, {}),
    CheckKind.SCAN_CLEAN: Check(_scan_clean, {}),
    CheckKind.DESCRIPTION: Check(_description, {}),
}
