"""One event on its way out: its body, its signature, and a connection to no other address than the checked one.

Signatures are those of Standard Webhooks (https://www.standardwebhooks.com): HMAC-SHA256 over
"<webhook-id>.<webhook-timestamp>.<body>", in base64 after "v1,".
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import ipaddress
import json
import socket
import ssl
import time
from collections.abc import Callable, Mapping
from contextlib import closing, suppress
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from typing import Any
from urllib.parse import quote, urlsplit

from django.conf import settings

from accounts.choices import HookFormat
from accounts.models import WebhookDelivery
from common.deadlines import cut_at
from common.version import VERSION

SECONDS = 5.0  # for an attempt as a whole
KEPT = 2000  # characters of an answer
MOST_READ = 64 << 10
# A network that translates hands these on to the IPv4 address in their last 32 bits (RFC 6052), or as it likes (RFC 8215).
TRANSLATED = ipaddress.ip_network("64:ff9b::/96")
TRANSLATED_HERE = ipaddress.ip_network("64:ff9b:1::/48")
KEPT_AS_IS = "!#$%&'()*+,/:;=?@[]~"  # of an address that may be quoted already


@dataclass(frozen=True)
class Outcome:
    """What became of an attempt: the answer, or why there is none. `duration_ms` in milliseconds."""

    request: str = ""
    status: int | None = None
    response: str = ""
    error: str = ""
    duration_ms: int | None = None


def post(delivery: WebhookDelivery) -> Outcome:
    """Sends the event; redirects are not followed."""
    body = body_of(delivery)
    headers = {
        "Content-Type": "application/json",
        "User-Agent": f"model-registry/{VERSION}",
        **signed(delivery.webhook.secret, delivery.message_id, int(time.time()), body),
    }
    sent = "\n".join(f"{name}: {value}" for name, value in headers.items()) + f"\n\n{body.decode()}"
    begun = time.monotonic()
    try:
        status, answer = _send(delivery.webhook.url, headers, body)
    except (OSError, ValueError, HTTPException) as error:
        return Outcome(sent, None, "", _sentence(error), _since(begun))
    return Outcome(sent, status, answer[:KEPT].replace("\0", ""), "", _since(begun))


def signed(secret: str, message_id: str, timestamp: int, body: bytes) -> dict[str, str]:
    """The headers that prove where it comes from; `secret` is whsec_ and base64, `timestamp` seconds."""
    key = base64.b64decode(secret.removeprefix("whsec_"))
    content = f"{message_id}.{timestamp}.".encode() + body
    signature = base64.b64encode(hmac.new(key, content, hashlib.sha256).digest()).decode()
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": f"v1,{signature}",
    }


def body_of(delivery: WebhookDelivery) -> bytes:
    """The event in the form that the receiver understands."""
    payload = delivery.payload
    form = FORMS.get(delivery.webhook.format)
    said = payload if form is None else form(sentence_of(payload))
    return json.dumps(said, ensure_ascii=False, separators=(",", ":")).encode()


def sentence_of(payload: Mapping[str, Any]) -> str:
    """The event as people read it: "ann: transition_stage version iris/3 (Staging → Production)"."""
    data = payload["data"]
    words = f"{data.get('actor') or 'somebody'}: {payload['type'].rpartition('.')[2].replace('_', ' ')}"
    what = " ".join(filter(None, [data.get("object_type"), data.get("object_id")]))
    before, after = data.get("before") or {}, data.get("after") or {}
    moved = f" ({before['stage']} → {after['stage']})" if "stage" in before and "stage" in after else ""
    return f"[{data.get('project')}] {words} {what}{moved}".strip()


FORMS: Mapping[str, Callable[[str], Any]] = {
    HookFormat.SLACK: lambda text: {"text": _plain(text)},
    HookFormat.TEAMS: lambda text: {
        "type": "message",
        "attachments": [
            {
                "contentType": "application/vnd.microsoft.card.adaptive",
                "content": {
                    "type": "AdaptiveCard",
                    "version": "1.4",
                    "body": [{"type": "TextBlock", "wrap": True, "text": text}],
                },
            }
        ],
    },
    HookFormat.DISCORD: lambda text: {"content": text[:2000], "allowed_mentions": {"parse": []}},
}


def _plain(text: str) -> str:
    """Text in which Slack sees neither links nor mentions."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _send(url: str, headers: Mapping[str, str], body: bytes) -> tuple[int, str]:
    """The answer's status, and as much of its text as came in time; TimeoutError without a whole head by then."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    secure = parts.scheme == "https"
    port = parts.port or (443 if secure else 80)
    until = time.monotonic() + SECONDS
    link = socket.create_connection((_checked_address(host, port), port), timeout=_left(until))
    with cut_at(until, link), closing(_Connection(host, port)) as connection:
        connection.sock = link
        try:
            if secure:
                connection.sock = ssl.create_default_context().wrap_socket(link, server_hostname=host)
            target = quote((parts.path or "/") + (f"?{parts.query}" if parts.query else ""), safe=KEPT_AS_IS)
            connection.request("POST", target, body, {**headers, "Host": parts.netloc})
            answer = connection.getresponse()
            _left(until)  # a head that was cut reads like a whole one
        except (OSError, HTTPException):
            _left(until)
            raise
        with closing(answer), suppress(OSError, HTTPException):
            return answer.status, answer.read(MOST_READ).decode(errors="replace")
        return answer.status, ""


class _Connection(HTTPConnection):
    """One that is given its socket, and never makes another."""

    auto_open = 0


def _left(until: float) -> float:
    """Seconds until then; TimeoutError when there are none."""
    left = until - time.monotonic()
    if left <= 0:
        raise TimeoutError(f"there was none within {SECONDS:g} seconds")
    return left


def _checked_address(host: str, port: int) -> str:
    """The address that the name means, resolved this once; ValueError when any that it means is not public."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    addresses = [str(each[4][0]) for each in found]
    for address in addresses:
        if not settings.WEBHOOKS_TO_PRIVATE and not is_public(address):
            raise ValueError(f"{host} means {address}, which is no public address")
    return addresses[0]


def is_public(address: str) -> bool:
    """Whether anybody on the internet may have it: neither private, nor loopback, nor of this link, nor reserved."""
    found = ipaddress.ip_address(address.partition("%")[0])
    if found in TRANSLATED_HERE:
        return False
    inner = getattr(found, "ipv4_mapped", None) or getattr(found, "sixtofour", None) or found
    if found in TRANSLATED:
        inner = ipaddress.ip_address(int(found) & 0xFFFFFFFF)
    return inner.is_global and not (inner.is_multicast or inner.is_reserved)


def _sentence(error: Exception) -> str:
    if isinstance(error, ValueError) and not isinstance(error, UnicodeError):
        return f"{error}."
    reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return f"No answer: {reason[:300]}."


def _since(begun: float) -> int:
    return int((time.monotonic() - begun) * 1000)
