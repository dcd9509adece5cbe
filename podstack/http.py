"""One HTTP request to the server: sessions, time-outs, retries and errors; knows no nouns."""

from __future__ import annotations

import os
import random
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import parse_qsl, quote, urlsplit

import requests
from requests.auth import AuthBase

from podstack.config import API_PREFIX, Settings
from podstack.errors import ConnectionFailed, NotFoundError, ServerError, ValidationError, error_from_problem
from podstack.values import dump
from podstack.version import __version__

RETRIED = frozenset({408, 429, 502, 503, 504})
ALWAYS_RETRIED_WITH_A_TIME = frozenset({409, 503})
BROKEN = (
    requests.exceptions.ConnectionError,
    requests.exceptions.Timeout,
    requests.exceptions.ChunkedEncodingError,
    requests.exceptions.ContentDecodingError,
)
MAYBE_DONE = frozenset({502, 504})
JSON_TYPE = "application/json"
NO_TLS = ("WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE", "HTTP_REQUEST")
SERVER_HINT = "Check that the server runs and that PODSTACK_API_ENDPOINT is its address."
ADDRESS_HINT = "Set PODSTACK_API_ENDPOINT to its address as your browser shows it on the first page."
STORAGE_HINT = (
    "The server has its clients send large files straight to its storage: this machine must reach it."
)
GATEWAY_HINT = "Endpoints answer there (the server's GATEWAY_URL): this machine must reach it."
Params = Sequence[tuple[str, str]]


@dataclass(frozen=True)
class Retries:
    """How long a request is tried again, in seconds.

    A server that has answered before gets `patience` to come back, one that never has gets `first_patience`:
    a restart is waited out, a wrong address is told soon. Pauses grow from `first_pause` to `longest_pause`.
    """

    patience: float = 90.0
    first_patience: float = 5.0
    first_pause: float = 0.2
    longest_pause: float = 5.0

    def pauses(self) -> Iterator[float]:
        pause = self.first_pause
        while True:
            yield pause * random.uniform(0.75, 1.25)
            pause = min(pause * 2, self.longest_pause)


@dataclass(frozen=True)
class Body:
    """What a request carries: `open` gives the same bytes anew for each try."""

    open: Callable[[], Any]
    content_type: str = JSON_TYPE


class BearerAuth(AuthBase):
    """The token as a header; as an auth object, because a ~/.netrc overrides plain headers."""

    def __init__(self, token: str) -> None:
        self.token = token

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["Authorization"] = f"Bearer {self.token}"
        return request


def _no_auth(request: requests.PreparedRequest) -> requests.PreparedRequest:
    """Keeps a ~/.netrc from adding what the address did not ask for."""
    return request


def path_of(*parts: object) -> str:
    """URL path of nouns and names, each name quoted; ValidationError for a name that no URL can carry."""
    for part in parts:
        if str(part) in ("", ".", ".."):
            raise ValidationError(f"{str(part)!r} is not a name.", hint="Give the name of what you mean.")
    return "".join("/" + quote(str(part), safe="") for part in parts)


class Http:
    """The door to one server. Safe to share between threads; each thread has its own connections."""

    timeout = (10.0, 60.0)

    def __init__(self, settings: Settings, retries: Retries | None = None, agent: str = "") -> None:
        self.endpoint = settings.endpoint
        self.agent = f"{agent} podstack/{__version__}".strip()
        self.retries = retries or Retries()
        self.answered = False
        self.shows_progress = True
        self._auth = BearerAuth(settings.api_token)
        self._local = threading.local()

    def call(
        self,
        method: str,
        path: str,
        *,
        params: Params | None = None,
        json: Any = None,
        key: str | None = None,
        patience: float | None = None,
    ) -> Any:
        """The JSON answer of the API at `path` (None for an empty one).

        `key` is a POST's Idempotency-Key (else a new one); `patience` overrides how long to retry.
        """
        content = None if json is None else dump(json)
        body = None if content is None else Body(lambda: content)
        headers = {"Idempotency-Key": key or uuid.uuid4().hex} if method == "POST" else {}
        response = self.send(
            method, API_PREFIX + path, params=params, body=body, headers=headers, patience=patience
        )
        return self.parse(response)

    def parse(self, response: requests.Response) -> Any:
        """A response's JSON; ServerError where something else than the registry answered."""
        if response.status_code == 204 or not response.content:
            return None
        try:
            return response.json()
        except requests.exceptions.JSONDecodeError as error:
            raise ServerError(
                f"{self.endpoint} did not answer in JSON.",
                hint="Check that PODSTACK_API_ENDPOINT is the registry's address.",
                status=response.status_code,
            ) from error

    def pages(self, path: str, params: Mapping[str, Any] | None = None) -> Iterator[Mapping[str, Any]]:
        """The items of a list, page by page as they are asked for; a plain JSON list is one page.

        Only the query of `next` is followed, so that a token never goes to another address than the endpoint.
        """
        query = _pairs(params or {})
        while True:
            page = self.call("GET", path, params=query)
            if isinstance(page, list):
                yield from page
                return
            if not isinstance(page, dict) or "results" not in page:
                raise ServerError(f"{self.endpoint} did not answer with a list.")
            yield from page["results"]
            if not page.get("next"):
                return
            query = parse_qsl(urlsplit(page["next"]).query)

    def send(
        self,
        method: str,
        path: str,
        *,
        params: Params | None = None,
        body: Body | None = None,
        headers: Mapping[str, str] | None = None,
        stream: bool = False,
        patience: float | None = None,
        retried: frozenset[int] = RETRIED,
    ) -> requests.Response:
        """One request, tried again while that can help: an answer below 400, else a PodstackError."""
        started, broken, pauses = time.monotonic(), False, self.retries.pauses()
        while True:
            response, failure = self._try(method, path, params, body, headers or {}, stream)
            if response is not None and not _may_retry(response, retried):
                return self._settle(response, method, broken)
            broken = broken or response is None or response.status_code in MAYBE_DONE
            pause = _pause_asked_for(response, next(pauses))
            left = self._patience(patience) - (time.monotonic() - started)
            if pause > left:
                raise self._give_up(response, failure, path)
            if response is not None:
                response.close()
            time.sleep(pause)

    def put_elsewhere(self, address: str, body: Body) -> int:
        """Puts bytes at an address that needs no token, and sends none there; the status of the last answer.

        Tried again while that can help; ConnectionFailed when no answer came.
        """
        started, pauses = time.monotonic(), self.retries.pauses()
        while True:
            response, failure = self._put(address, body)
            if response is not None and response.status_code not in RETRIED | {500}:
                return response.status_code
            pause = _pause_asked_for(response, next(pauses))
            if pause > self.retries.patience - (time.monotonic() - started):
                if response is not None:
                    return response.status_code
                raise self.connection_failed(failure, urlsplit(address).netloc, STORAGE_HINT)
            time.sleep(pause)

    def _put(self, address: str, body: Body) -> tuple[requests.Response | None, Exception | None]:
        try:
            response = self._session().put(
                address,
                data=body.open(),
                timeout=self.timeout,
                auth=_no_auth,
                allow_redirects=False,
            )
        except requests.exceptions.RequestException as error:
            if _is_hopeless(error):
                raise self.connection_failed(error, urlsplit(address).netloc, STORAGE_HINT) from error
            return None, error
        return response, None

    def _try(
        self,
        method: str,
        path: str,
        params: Params | None,
        body: Body | None,
        headers: Mapping[str, str],
        stream: bool,
    ) -> tuple[requests.Response | None, Exception | None]:
        """A response, or the failure that trying again may mend; ConnectionFailed for any other."""
        try:
            response = self._session().request(
                method,
                self._address(path),
                params=params,
                data=None if body is None else body.open(),
                headers={**headers, **({} if body is None else {"Content-Type": body.content_type})},
                timeout=self.timeout,
                auth=self._auth,
                stream=stream,
                allow_redirects=method in ("GET", "HEAD"),
            )
        except requests.exceptions.RequestException as error:
            if _is_hopeless(error):
                raise self._no_answer(path, error) from error
            return None, error
        self.answered = True
        return response, None

    def _address(self, path: str) -> str:
        """Below the registry's address; or where the registry says that an endpoint answers, never less safely."""
        if path.startswith("/"):
            return self.endpoint + path
        if self.endpoint.startswith("https://") and not path.startswith("https://"):
            raise ConnectionFailed(
                f"{path} is not encrypted, while {self.endpoint} is: the token is not sent there.",
                hint="Have your operator set GATEWAY_URL to an address with https://.",
            )
        return path

    def _session(self) -> requests.Session:
        """This thread's session; a forked child must not share its parent's sockets."""
        if getattr(self._local, "pid", None) != os.getpid():
            self._local.pid, self._local.session = os.getpid(), requests.Session()
            self._local.session.headers.update(
                {"User-Agent": self.agent, "Accept": f"{JSON_TYPE}, */*;q=0.5"}
            )
        session: requests.Session = self._local.session
        return session

    def _patience(self, asked: float | None) -> float:
        if asked is not None:
            return asked
        return self.retries.patience if self.answered else self.retries.first_patience

    def _settle(self, response: requests.Response, method: str, broken: bool) -> requests.Response:
        """The response or its error. A DELETE whose first answer was lost finds nothing left: success."""
        if 300 <= response.status_code < 400 and response.status_code != 304:
            raise ConnectionFailed(
                f"{self.endpoint} redirects to {response.headers.get('Location', 'another address')}.",
                hint="Set PODSTACK_API_ENDPOINT to the address that it redirects to.",
                status=response.status_code,
            )
        if response.status_code < 400:
            return response
        error = self.error_of(response)
        if isinstance(error, NotFoundError) and method == "DELETE" and broken:
            response.status_code = 204
            return response
        raise error

    def error_of(self, response: requests.Response) -> Exception:
        """The typed exception for a refusal."""
        try:
            problem = response.json()
        except (requests.exceptions.RequestException, ValueError):
            problem = None
        ours = str(response.url).startswith(self.endpoint + API_PREFIX)
        if response.status_code == 404 and ours and not isinstance(problem, dict):
            problem = {"detail": f"There is no registry at {self.endpoint}.", "hint": ADDRESS_HINT}
        return error_from_problem(response.status_code, problem if isinstance(problem, dict) else {})

    def _give_up(self, response: requests.Response | None, failure: Exception | None, path: str) -> Exception:
        return self.error_of(response) if response is not None else self._no_answer(path, failure)

    def _no_answer(self, path: str, failure: Exception | None) -> ConnectionFailed:
        """The sentence for a request without an answer, of the registry or of an endpoint at its gateway."""
        if path.startswith("/"):
            return self.connection_failed(failure)
        return self.connection_failed(failure, urlsplit(path).netloc, GATEWAY_HINT)

    def connection_failed(
        self, failure: Exception | None, where: str = "", hint: str = ""
    ) -> ConnectionFailed:
        """The sentence for a request that got no answer, of the server or from `where` it sent this client."""
        if not where and _is_plain_http(failure):
            hint = "It speaks http:// without encryption, or is no web server: check PODSTACK_API_ENDPOINT."
        error = ConnectionFailed(
            f"No answer from {where or self.endpoint} ({_reason(failure)}).", hint=hint or SERVER_HINT
        )
        error.__cause__ = failure
        return error


def _pairs(params: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Query parameters; None is left out, a list repeats its name, booleans are `true` and `false`."""
    pairs = []
    for name, value in params.items():
        for item in value if isinstance(value, list | tuple) else [value]:
            if item is not None:
                pairs.append((name, str(item).lower() if isinstance(item, bool) else str(item)))
    return pairs


def _may_retry(response: requests.Response, retried: frozenset[int]) -> bool:
    """Statuses that pass by themselves; a 409 or 503 that names a time passes too, whoever asks."""
    timed = "Retry-After" in response.headers and response.status_code in ALWAYS_RETRIED_WITH_A_TIME
    return timed or response.status_code in retried


def _pause_asked_for(response: requests.Response | None, pause: float) -> float:
    """Seconds to wait: what Retry-After says, seconds or a date, but never less than our own back-off."""
    asked = "" if response is None else response.headers.get("Retry-After", "")
    try:
        seconds = float(asked) if asked else 0.0
    except ValueError:
        try:
            seconds = parsedate_to_datetime(asked).timestamp() - time.time()
        except ValueError:
            seconds = 0.0
    return max(pause, seconds)


def _is_hopeless(error: Exception) -> bool:
    """No broken connection, a certificate that is not trusted, or no encryption at all: all of them stay so."""
    untrusted = isinstance(error, requests.exceptions.SSLError) and "CERTIFICATE" in str(error)
    return untrusted or _is_plain_http(error) or not isinstance(error, BROKEN)


def _is_plain_http(error: Exception | None) -> bool:
    """Whether a server that was asked with https:// answered without encryption."""
    return isinstance(error, requests.exceptions.SSLError) and any(sign in str(error) for sign in NO_TLS)


def _reason(failure: Exception | None) -> str:
    """The innermost cause in a few words: "Connection refused" rather than a pool's whole story."""
    cause: Any = failure
    while True:
        nested = (getattr(cause, "reason", None), *getattr(cause, "args", ()))
        inner = next((item for item in nested if isinstance(item, Exception)), None)
        if inner is None:
            break
        cause = inner
    text = getattr(cause, "strerror", None) or str(cause) or type(cause).__name__
    text = text.rpartition("] ")[2] or text
    return text.removesuffix(")") if text.count(")") > text.count("(") else text
