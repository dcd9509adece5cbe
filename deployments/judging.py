"""Whether a canary may go on: what it failed, what it refuses that the serving version answers, how slow it is."""

from __future__ import annotations

from datetime import timedelta
from math import exp, lgamma

from deployments.models import Deployment, DeploymentRevision
from deployments.traffic import Counts, counts_since

# Fewer requests than these say nothing about a version: it goes on by time alone.
FEWEST_TO_JUDGE = 10
# What the serving version refused in so long before counts, too, where it got fewer than these beside the canary.
BEFORE = timedelta(days=1)
# The gateway draws by lot who answers a request, so that nonsense falls on both, and unevenly now and then. A canary is
# judged at each look: what happens by chance once in a hundred times would roll a good one back.
RARE = 0.001


def broken_limit(deployment: Deployment, revision: DeploymentRevision) -> str:
    """The sentence that says which limit the canary breaks in this step, or ""."""
    if revision.step_at is None:
        return ""
    counts = counts_since(revision, revision.step_at)
    if counts.requests < FEWEST_TO_JUDGE:
        return ""
    rollout, at = revision.rollout, f"at {deployment.canary_percent} % of the requests"
    if counts.error_rate > rollout.get("max_error_rate", 1):
        return (
            f"{counts.errors} of {counts.requests} requests failed {at}, which is {_percent(counts.error_rate)}; "
            f"the limit is {_percent(rollout['max_error_rate'])}."
        )
    if refused := _refuses_more(deployment, revision, counts):
        return f"{counts.unfit} of {counts.let_in} requests were refused (4xx) {at}, {refused}"
    limit = rollout.get("max_p95_ms")
    if limit is not None and (p95 := counts.percentile(95) or 0) > limit:
        return f"95 % of {counts.requests} requests took up to {p95:.0f} ms {at}; the limit is {limit:g} ms."
    return ""


def _refuses_more(deployment: Deployment, revision: DeploymentRevision, counts: Counts) -> str:
    """How much more the canary refuses than what serves, when that is over the limit and no chance; else ""."""
    serving, since = deployment.serving_revision, revision.step_at
    limit = revision.rollout.get("max_error_rate", 1)
    if serving is None or since is None or counts.unfit_rate <= limit:
        return ""
    usual, refuses = counts_since(serving, since), "refuses {}"
    if usual.let_in < FEWEST_TO_JUDGE:
        usual, refuses = counts_since(serving, since - BEFORE), "refused {} in the day before"
    if counts.unfit_rate - usual.unfit_rate <= limit or _by_chance(counts, usual) > RARE:
        return ""
    return (
        f"which is {_percent(counts.unfit_rate)}; the serving version "
        f"{refuses.format(_percent(usual.unfit_rate))}, and the limit is {_percent(limit)} more."
    )


def _by_chance(counts: Counts, usual: Counts) -> float:
    """How likely so many of the refused requests, or more, come to the canary if both versions refuse the same ones.

    The tail of the hypergeometric distribution (Fisher's exact test).
    """
    refused = counts.unfit + usual.unfit
    term = exp(
        _log_choices(counts.let_in, counts.unfit)
        + _log_choices(usual.let_in, usual.unfit)
        - _log_choices(counts.let_in + usual.let_in, refused)
    )
    found = 0.0
    for number in range(counts.unfit, min(counts.let_in, refused) + 1):
        found += term
        left = usual.let_in - refused + number + 1
        term *= (counts.let_in - number) * (refused - number) / ((number + 1) * left)
    return found


def _log_choices(many: int, some: int) -> float:
    return lgamma(many + 1) - lgamma(some + 1) - lgamma(many - some + 1)


def _percent(share: float) -> str:
    return f"{100 * share:.3g} %"
