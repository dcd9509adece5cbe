"""Verbs on webhooks, and how an event gets to one."""

from __future__ import annotations

import base64
import re
import secrets
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

from django.db import transaction
from django.db.models import QuerySet
from django.urls import reverse
from django.utils import timezone

from accounts.audit import record
from accounts.choices import DeliveryState, HookFormat, Notice, Right, Role
from accounts.models import Membership, Project, User, Webhook, WebhookDelivery
from accounts.notifications import notify
from accounts.permissions import Actor, require, system_actor
from accounts.posting import Outcome, post
from common.checks import check_text, shorten
from common.errors import Conflict, Invalid, Missing
from common.ids import new_id
from common.jobs import Again, enqueue

MOST_WEBHOOKS = 50
MOST_EVENTS = 50
EVENT = re.compile(r"[a-z_]{1,40}\.(\*|[a-z_]{1,50})")
# Seconds until the next attempt: in all about a day.
PAUSES = (5, 30, 120, 600, 1800, 3600, 7200, 14_400, 21_600, 36_000)
GONE = 410


def create_webhook(
    *,
    actor: Actor,
    project: Project,
    name: str,
    url: str,
    events: Sequence[str] = (),
    format: str = HookFormat.STANDARD,
) -> Webhook:
    """Tells `url` of what happens in the project from now on. The secret that signs is in the answer, this once."""
    require(actor, project, Right.MAINTAIN)
    values = _checked(name=name, url=url, events=events, format=format)
    with transaction.atomic():
        Project.objects.select_for_update(no_key=True).get(pk=project.pk)
        if Webhook.objects.filter(project=project).count() >= MOST_WEBHOOKS:
            raise Conflict(f"{project.slug} has {MOST_WEBHOOKS} webhooks already.", "Remove one first.")
        hook = Webhook.objects.create(
            public_id=new_id("hook"),
            project=project,
            secret=f"whsec_{base64.b64encode(secrets.token_bytes(32)).decode()}",
            created_by=actor.user,
            **values,
        )
        record(actor, "create_webhook", "webhook", hook.public_id, project=project, after=facts(hook))
    return hook


def update_webhook(
    *, actor: Actor, project: Project, webhook_id: str, is_active: bool | None = None, **changes: Any
) -> Webhook:
    """Changes what is given: name, url, events, format, is_active. Switching it on forgets why it was off."""
    require(actor, project, Right.MAINTAIN)
    values: dict[str, Any] = _checked(**changes)
    if is_active is not None:
        values |= {"is_active": is_active, "off_reason": ""}
    with transaction.atomic():
        hook = find_webhook(project, webhook_id, lock=True)
        before = facts(hook)
        for field, value in values.items():
            setattr(hook, field, value)
        hook.updated_at = timezone.now()
        hook.save()
        if facts(hook) != before:
            record(
                actor,
                "update_webhook",
                "webhook",
                hook.public_id,
                project=project,
                before=before,
                after=facts(hook),
            )
    return hook


def delete_webhook(*, actor: Actor, project: Project, webhook_id: str) -> None:
    """Removes it with its deliveries; what waits is not sent."""
    require(actor, project, Right.MAINTAIN)
    with transaction.atomic():
        hook = find_webhook(project, webhook_id, lock=True)
        record(actor, "delete_webhook", "webhook", hook.public_id, project=project, before=facts(hook))
        hook.delete()


def ping_webhook(*, actor: Actor, project: Project, webhook_id: str) -> WebhookDelivery:
    """Sends it an event of the name `ping`, to try it out."""
    require(actor, project, Right.MAINTAIN)
    with transaction.atomic():
        hook = find_webhook(project, webhook_id)
        data = {"project": project.slug, "actor": actor.user.username, "door": actor.door}
        said = {"type": "ping", "timestamp": timezone.now().isoformat(), "data": data}
        delivery = WebhookDelivery.objects.create(
            webhook=hook, message_id=f"msg_{secrets.token_hex(16)}", event="ping", payload=said
        )
        enqueue("accounts.deliver_webhook", delivery_id=delivery.pk)
        about = {"message": delivery.message_id}
        record(actor, "ping_webhook", "webhook", hook.public_id, project=project, after=about)
    return delivery


def redeliver(*, actor: Actor, project: Project, webhook_id: str, message_id: str) -> WebhookDelivery:
    """**Redeliver**: sends it once more, under the same id. Conflict while it still waits."""
    require(actor, project, Right.MAINTAIN)
    with transaction.atomic():
        hook = find_webhook(project, webhook_id)
        rows = WebhookDelivery.objects.select_for_update().filter(webhook=hook, message_id=message_id)
        delivery = rows.first() if "\0" not in message_id else None
        if delivery is None:
            raise Missing(f"{hook.public_id} has no delivery {shorten(message_id)}.")
        if delivery.state == DeliveryState.WAITING:
            raise Conflict(f"{message_id} still waits to be delivered.", code="delivery_waiting")
        delivery.state, delivery.attempts = DeliveryState.WAITING, 0
        delivery.save(update_fields=["state", "attempts"])
        enqueue("accounts.deliver_webhook", delivery_id=delivery.pk)
        record(actor, "redeliver", "webhook", hook.public_id, project=project, after={"message": message_id})
    return delivery


def deliver(delivery_id: int) -> Again | None:
    """One attempt; again later while that can help. A webhook that took nothing for a day is switched off."""
    rows = WebhookDelivery.objects.select_related("webhook__project", "webhook__created_by")
    delivery = rows.filter(pk=delivery_id, state=DeliveryState.WAITING).first()
    if delivery is None:
        return None
    if not delivery.webhook.is_active and delivery.event != "ping":
        _settle(delivery, DeliveryState.FAILED, Outcome(error="The webhook is switched off."))
        return None
    outcome = post(delivery)
    delivery.attempts += 1
    if outcome.status is not None and 200 <= outcome.status < 300:
        _settle(delivery, DeliveryState.DELIVERED, outcome)
        return None
    if delivery.attempts <= len(PAUSES) and outcome.status != GONE and delivery.event != "ping":
        _settle(delivery, DeliveryState.WAITING, outcome)
        return Again(PAUSES[delivery.attempts - 1])
    _settle(delivery, DeliveryState.FAILED, outcome)
    if delivery.event != "ping":
        _switch_off(delivery, outcome)
    return None


def find_webhook(project: Project, webhook_id: str, *, lock: bool = False) -> Webhook:
    """The project's webhook of this id, or Missing."""
    rows = Webhook.objects.filter(project=project).select_related("created_by")
    if lock:
        rows = rows.select_for_update(of=("self",))
    hook = rows.filter(public_id=webhook_id).first() if "\0" not in webhook_id else None
    if hook is None:
        raise Missing(
            f"There is no webhook {shorten(webhook_id)} in {project.slug}.", code="webhook_not_found"
        )
    hook.project = project
    return hook


def webhooks_of(project: Project) -> QuerySet[Webhook]:
    """All webhooks of the project."""
    return Webhook.objects.filter(project=project).select_related("created_by").order_by("name", "id")


def facts(hook: Webhook) -> dict[str, Any]:
    """What a webhook says, without its secret."""
    return {
        "name": hook.name,
        "url": hook.url,
        "events": list(hook.events),
        "format": hook.format,
        "is_active": hook.is_active,
    }


def _settle(delivery: WebhookDelivery, state: DeliveryState, outcome: Outcome) -> None:
    WebhookDelivery.objects.filter(pk=delivery.pk).update(
        state=state,
        attempts=delivery.attempts,
        tried_at=timezone.now(),
        request=outcome.request,
        status=outcome.status,
        response=outcome.response,
        error=outcome.error,
        duration_ms=outcome.duration_ms,
    )


def _switch_off(delivery: WebhookDelivery, outcome: Outcome) -> None:
    hook = delivery.webhook
    said = outcome.error or f"It answered {outcome.status}."
    reason = f"{delivery.event} could not be delivered in {delivery.attempts} attempts. {said}"
    with transaction.atomic():
        if not Webhook.objects.filter(pk=hook.pk, is_active=True).update(is_active=False, off_reason=reason):
            return
        record(
            system_actor(),
            "switch_off_webhook",
            "webhook",
            hook.public_id,
            project=hook.project,
            after={"reason": reason},
        )
        admins = Membership.objects.filter(project=hook.project, role=Role.ADMIN).values("user")
        path = reverse("accounts:webhook", args=[hook.project.slug, hook.public_id])
        people = User.objects.filter(pk__in=admins) | User.objects.filter(pk=hook.created_by_id)
        text = f"The webhook {hook.name} was switched off: {reason}"
        notify(people, Notice.WEBHOOK_OFF, text, project=hook.project, path=path)


def _checked(**values: Any) -> dict[str, Any]:
    """The fields that are given, each in its one form."""
    checks = {"name": _name, "url": _url, "events": _events, "format": _format}
    return {field: checks[field](value) for field, value in values.items()}


def _name(value: object) -> str:
    return check_text("name", value, max_length=120, required=True)


def _url(value: object) -> str:
    text = check_text("url", value, max_length=2000, required=True)
    try:
        parts = urlsplit(text)
        good = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        good = False
    if not good or re.search(r"\s", text) or parts.username or parts.fragment:
        raise Invalid.field(
            "url", f"url is {shorten(text)}; it must be an address such as https://example.com/hook."
        )
    return text


def _events(value: object) -> list[str]:
    if isinstance(value, str) or not isinstance(value, Sequence) or len(value) > MOST_EVENTS:
        raise Invalid.field(
            "events", f"events is {shorten(value)}; it must be a list of at most {MOST_EVENTS}."
        )
    for name in value:
        if not isinstance(name, str) or not EVENT.fullmatch(name):
            raise Invalid.field(
                "events",
                f"events holds {shorten(name)}; write version.transition_stage, or version.* for all.",
            )
    return list(dict.fromkeys(value))


def _format(value: object) -> str:
    if value not in HookFormat.values:
        known = ", ".join(HookFormat.values)
        raise Invalid.field("format", f"format is {shorten(value)}; it must be one of {known}.")
    return str(value)
