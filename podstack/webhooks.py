"""Calls on webhooks; for maintainers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from podstack.calls import Calls, given
from podstack.models import Webhook, WebhookDelivery
from podstack.values import texts


class WebhookCalls(Calls):
    """`webhook_id` is `hook-…`, `message_id` `msg_…`."""

    def create_webhook(
        self, name: str, url: str, events: Sequence[str] = (), format: str = "standard"
    ) -> Webhook:
        """Tells `url` of what happens in the project from now on; `secret` signs it, and is there this once.

        events: such as "version.transition_stage" or "approval.*"; none is all that concern models, approvals,
        schedules and endpoints. format: standard (signed JSON), slack, teams or discord.
        """
        body = {"name": name, "url": url, "events": texts("events", events), "format": format}
        return Webhook.from_json(self.http.call("POST", self.path("webhooks"), json=body))

    def list_webhooks(self) -> Iterator[Webhook]:
        """The project's webhooks; their secrets are not told again."""
        return self.listed(Webhook.from_json, ("webhooks",))

    def get_webhook(self, webhook_id: str) -> Webhook:
        """One webhook, without its secret."""
        return Webhook.from_json(self.http.call("GET", self.path("webhooks", webhook_id)))

    def update_webhook(
        self,
        webhook_id: str,
        *,
        name: str | None = None,
        url: str | None = None,
        events: Sequence[str] | None = None,
        format: str | None = None,
        is_active: bool | None = None,
    ) -> Webhook:
        """Changes what is given; `is_active=True` switches one on again that was switched off."""
        body = given(
            name=name,
            url=url,
            events=None if events is None else texts("events", events),
            format=format,
            is_active=is_active,
        )
        return Webhook.from_json(self.http.call("PATCH", self.path("webhooks", webhook_id), json=body))

    def delete_webhook(self, webhook_id: str) -> None:
        """Removes a webhook; what waits for it is not sent any more."""
        self.http.call("DELETE", self.path("webhooks", webhook_id))

    def ping_webhook(self, webhook_id: str) -> WebhookDelivery:
        """Sends it an event to try it out."""
        return WebhookDelivery.from_json(self.http.call("POST", self.path("webhooks", webhook_id, "ping")))

    def list_webhook_deliveries(
        self, webhook_id: str, state: str | None = None, event: str | None = None
    ) -> Iterator[WebhookDelivery]:
        """What it was told, the newest first; state is Waiting, Delivered or Failed."""
        return self.listed(
            WebhookDelivery.from_json, ("webhooks", webhook_id, "deliveries"), state=state, event=event
        )

    def redeliver(self, webhook_id: str, message_id: str) -> WebhookDelivery:
        """Sends one once more, under the same id."""
        path = self.path("webhooks", webhook_id, "deliveries", message_id, "redeliver")
        return WebhookDelivery.from_json(self.http.call("POST", path))
