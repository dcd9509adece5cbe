"""The door at an endpoint's own address: checks the token, finds what serves now, passes the request on.

Only bearer tokens count here, never cookies, so a page in somebody's browser can do nothing with them.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

from common.errors import Busy, DomainError, Missing
from deployments.errors import BadAnswer, NotLive, Refused, TooSlow, WrongMethod, no_endpoint
from gateway.access import Accesses
from gateway.batches import pass_on
from gateway.database import ROUTES, TOKENS, Away, Database
from gateway.limits import Limits
from gateway.names import named, with_names
from gateway.request import Message, NotTaken, Receive, Request, Send
from gateway.room import Bodies
from gateway.routes import RETRY_AFTER, Backend, Route, Routes
from gateway.shadow import Shadows
from gateway.traffic import Traffic
from gateway.upstream import BrokenOff, Connection, Pool, Unreachable, address_of, exchange
from gateway.wire import PREDICT, Question, head_of

log = logging.getLogger("gateway")

# What a process answers that is being drained, or that took over a port: this is no longer the right address.
WRONG_ADDRESS = (401, 503)
HEALTH = ("health/live", "health/ready")  # of the Open Inference Protocol v2, below v2/
LONGEST_REFUSAL = 100_000
MOST_AT_ONCE = 2000
WRITE_EVERY = 1.0


@dataclass(frozen=True)
class Settings:
    """What a gateway process must know. The file of limits belongs to all processes of one gateway."""

    database_url: str
    max_body_bytes: int
    limits: Path
    body_seconds: float
    most_held_bytes: int
    most_of_a_person: int


class Gateway:
    """The ASGI application of one process."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._database = Database(settings.database_url)
        self._accesses = Accesses(self._database, settings.most_of_a_person)
        self._bodies = Bodies(settings.most_held_bytes)
        self._routes = Routes(self._database)
        self._limits = Limits(settings.limits)
        self._traffic = Traffic(self._database)
        self._pool = Pool()
        self._shadows = Shadows(self._pool, self._traffic)
        self._at_once = 0
        self._was_ready = False
        self._writer: asyncio.Task[None] | None = None

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """ASGI: the lifespan, and requests."""
        if scope["type"] == "lifespan":
            await self._live(receive, send)
        elif scope["type"] == "http":
            await self._respond(Request(scope, receive, send))

    async def _live(self, receive: Receive, send: Send) -> None:
        await receive()
        await self._database.open(self._hear)
        self._writer = asyncio.create_task(self._write())
        await send({"type": "lifespan.startup.complete"})
        await receive()
        self._writer.cancel()
        await asyncio.gather(self._writer, return_exceptions=True)
        await self._traffic.write()
        await self._accesses.note_uses()
        self._pool.close()
        self._limits.close()
        await self._database.close()
        await send({"type": "lifespan.shutdown.complete"})

    def _hear(self, channel: str, payload: str) -> None:
        if channel == TOKENS:
            self._accesses.changed(payload)
        elif channel == ROUTES:
            self._routes.changed(payload)

    async def _write(self) -> None:
        while True:
            await asyncio.sleep(WRITE_EVERY)
            try:
                await self._traffic.write()
                await self._accesses.note_uses()
                self._pool.sweep()
            except Exception:
                log.exception("Counts could not be written.")

    async def _respond(self, request: Request) -> None:
        self._at_once += 1
        try:
            if self._at_once > MOST_AT_ONCE:
                raise Busy("The gateway answers too many requests at once.", "Try again.", retry_after=1)
            await self._answer(request)
        except DomainError as error:
            await _refuse(request, error)
        except Away:
            await _refuse(
                request, Busy("The server is too busy to answer.", "Try again in a second.", retry_after=1)
            )
        except (BrokenOff, NotTaken, TimeoutError) as error:
            await _refuse(request, BadAnswer("The model's process ended in the middle of its answer."), error)
        except Exception as error:
            log.exception("Request %s failed.", request.id.decode())
            await _refuse(request, _failure(), error)
        finally:
            self._at_once -= 1
            self._bodies.let_go(request.held)
            if request.places is not None:
                request.places.leave()

    async def _answer(self, request: Request) -> None:
        parts = request.path.split("/", 4)
        if len(parts) < 4 or parts[1] != "serve" or "\0" in request.path:  # which no name in the database has
            await self._own(request)
            return
        route = await self._authorized(request, parts[2], parts[3])
        rest = parts[4] if len(parts) > 4 else ""
        if rest == "":
            await self._predict(route, request)
        elif rest == "batch-predict":
            await self._batch(route, request)
        elif rest == "v2" or rest.startswith("v2/"):
            await self._protocol(route, request, rest[3:])
        else:
            raise Missing(
                f"There is nothing at {rest[:200]} of this endpoint.",
                "POST to the endpoint itself, to batch-predict, or see v2.",
            )

    async def _own(self, request: Request) -> None:
        """The process's own health, and nothing else."""
        if request.path == "/livez":
            await request.answer(200, b'{"status": "ok"}')
        elif request.path == "/readyz":
            listens = self._database.listening_since is not None
            # Once ready, routes that are known go on answering when the database is away.
            self._was_ready = self._was_ready or listens
            said = {
                "status": "ok" if self._was_ready else "unavailable",
                "database": "answers" if listens else "does not answer",
            }
            await request.answer(200 if self._was_ready else 503, json.dumps(said).encode())
        else:
            raise Missing(
                "There is nothing at this address.", "Endpoints are at /serve/{project}/{endpoint}."
            )

    async def _authorized(self, request: Request, slug: str, endpoint_name: str) -> Route:
        """The endpoint, for a token that may ask it; to who is no member neither project nor endpoint exist."""
        places = await self._accesses.check(request.authorization, slug)
        places.enter()
        request.places = places
        route = self._routes.known(slug, endpoint_name) or await self._routes.get(slug, endpoint_name)
        if route is None:
            raise no_endpoint(slug, endpoint_name)
        return route

    async def _predict(self, route: Route, request: Request) -> None:
        """POST {"instances": [...]} -> {"predictions": [...], "model_name", "model_version"}."""
        if request.method != "POST":
            raise WrongMethod(request.method, "POST", 'POST {"instances": [[…], …]}.')
        content = await self._content(route, request)
        await self._ask(route, request, Question("POST", PREDICT, content, request.id))

    async def _protocol(self, route: Route, request: Request, path: str) -> None:
        """The Open Inference Protocol v2 of one endpoint, passed through; a version in it is asked for by its number."""
        model = f"models/{route.endpoint_name}"
        path, version = _without_version(path, model)
        gets = ("", *HEALTH, model, f"{model}/ready")
        method = "GET" if path in gets else "POST" if path == f"{model}/infer" else None
        if method is None:
            raise Missing(
                f"There is nothing at v2/{path[:200]} of this endpoint.",
                f"Its model is called {route.endpoint_name}: v2/{model}.",
            )
        if request.method != method:
            raise WrongMethod(request.method, method, f"Use {method}.")
        if method == "GET":
            self._check_rate(route)
            if route.asleep and path in (*HEALTH, f"{model}/ready"):
                # It takes requests, which wake it; a probe that woke it would never let it sleep.
                route.check_sleeper(version)
                await request.answer(200, json.dumps({path.rpartition("/")[2]: True}).encode())
                return
        content = await self._content(route, request) if method == "POST" else b""
        question = Question(method, f"/v2/{path}".rstrip("/"), content, request.id)
        await self._ask(route, request, question, version)

    async def _batch(self, route: Route, request: Request) -> None:
        """POST rows, one JSON value a line -> answers, one a line, while rows still come. The query holds parameters."""
        if request.method != "POST":
            raise WrongMethod(request.method, "POST", "POST one row of JSON in each line.")
        self._check_rate(route)
        ready = Question("GET", "/v2/health/ready", b"", request.id)
        # Rows cannot be sent twice: what answers is found before the first is taken.
        route, backend = await self._found(route, ready)
        self._traffic.begin(backend.revision_id)
        status, by_model = 502, True
        try:
            status = await pass_on(self._pool, backend, request, route.timeout_seconds)
        except NotTaken:
            status = 200
            raise
        except TimeoutError as error:
            status = 504
            raise _too_slow(route) from error
        except Unreachable as error:
            raise self._gone(route) from error
        except DomainError as error:  # about the rows' coming; what the model refuses is an answer
            status, by_model = error.status, False
            raise
        finally:
            # How long it takes depends on how fast the caller sends, so it must not judge a canary.
            self._traffic.end(backend.revision_id)
            self._traffic.note(backend.revision_id, status, None, by_model=by_model)

    async def _content(self, route: Route, request: Request) -> bytes:
        try:
            self._check_rate(route)
            limit = route.max_body_bytes or self._settings.max_body_bytes
            return await request.body(limit, self._bodies, self._settings.body_seconds)
        except DomainError as error:
            if error.status < 500:  # a full gateway says nothing about the endpoint
                self._count_refusal(route, error)
            raise

    def _count_refusal(self, route: Route, error: DomainError) -> None:
        """What no model was asked counts for the revision that serves."""
        if route.serving is not None:
            self._traffic.note(route.serving.revision_id, error.status, None, by_model=False)

    def _check_rate(self, route: Route) -> None:
        self._limits.check(route)

    async def _ask(self, route: Route, request: Request, question: Question, version: str = "") -> None:
        """The serving process's answer, counted once, whoever was asked. When nothing answers, that counts too."""
        try:
            await self._answered(route, request, question, version)
        except NotLive as error:
            if question.predicts:
                self._count_refusal(route, error)
            raise

    async def _answered(self, route: Route, request: Request, question: Question, version: str) -> None:
        """When the address is no longer right, the route is read once more. NotLive, not counted, when nothing answers."""
        if route.asleep:
            route = await self._routes.awake(route)
        asked, counts = route.pick(version), question.predicts
        try:
            await self._exchange(route, asked, request, question, counts=counts)
            return
        except Unreachable as error:
            log.info("Nothing answers for %s at %s: %s", route.endpoint_name, asked.url, error)
        route, backend = await self._fresh(route, version)
        if counts and asked == route.coming != backend:
            # A canary is judged by what it left unanswered, whoever answers in its place.
            self._traffic.note(asked.revision_id, 503, None)
            counts = False
        try:
            await self._exchange(route, backend, request, question, counts=counts)
        except Unreachable as error:
            log.warning("Nothing answers for %s at %s: %s", route.endpoint_name, backend.url, error)
            raise self._gone(route) from error

    async def _fresh(self, route: Route, version: str = "") -> tuple[Route, Backend]:
        """The route as it is now, and what serves by it."""
        route = await self._routes.again(route)
        if route.asleep:
            route = await self._routes.awake(route)
        return route, route.pick(version) if version else route.main()

    async def _found(self, route: Route, question: Question) -> tuple[Route, Backend]:
        """A backend that answers this question with 200."""
        if route.asleep:
            route = await self._routes.awake(route)
        backend = route.pick()
        for last in (False, True):
            address = address_of(backend.url)
            head = head_of(question, address, backend.key)
            try:
                async with exchange(self._pool, address, head, b"", route.timeout_seconds) as connection:
                    if connection.status not in WRONG_ADDRESS:
                        return route, backend
            except TimeoutError as error:
                raise _too_slow(route) from error
            except Unreachable:
                pass
            if not last:
                route, backend = await self._fresh(route)
        raise self._gone(route)

    async def _exchange(
        self, route: Route, backend: Backend, request: Request, question: Question, *, counts: bool
    ) -> None:
        """What one process answers. Unreachable, and not counted, when it does not."""
        address = address_of(backend.url)
        head = head_of(question, address, backend.key)
        revision_id = backend.revision_id
        if question.predicts:
            self._traffic.begin(revision_id)
        began, status, took = perf_counter(), 502, 0.0
        try:
            async with exchange(
                self._pool, address, head, question.content, route.timeout_seconds
            ) as connection:
                took = perf_counter() - began
                status = connection.status
                if status in WRONG_ADDRESS:
                    raise Unreachable(f"status {status}")
                if not 200 <= status < 300:
                    raise await _refusal(connection, route)
                await self._pass_back(route, backend, request, question, connection)
        except Unreachable:
            counts = False
            raise
        except TimeoutError as error:
            status = 504
            raise _too_slow(route) from error
        except DomainError as error:
            status = error.status
            raise
        except BrokenOff:
            status = 502
            raise
        finally:
            if question.predicts:
                self._traffic.end(revision_id)
            if counts:
                self._traffic.note(revision_id, status, took or perf_counter() - began)

    async def _pass_back(
        self,
        route: Route,
        backend: Backend,
        request: Request,
        question: Question,
        connection: Connection,
    ) -> None:
        content = connection.whole()
        if content is not None:
            answer = with_names(content, route.model_name, backend.version) if question.named else content
            await request.answer(connection.status, answer, connection.content_type)
            if route.shadow is not None and question.content and route.shadow.healthy:
                self._shadows.copy(route.shadow, question, content, route.timeout_seconds)
            return
        pieces = connection.pieces(route.timeout_seconds)
        if question.named:
            pieces = named(pieces, route.model_name, backend.version)
        async for piece in pieces:
            if not request.begun:
                await request.begin(connection.status, connection.content_type)
            await request.write(piece)
        await request.write(b"", more=False)

    def _gone(self, route: Route) -> NotLive:
        return NotLive(
            route.reason
            or f"The process behind {route.endpoint_name} does not answer; it is being started again.",
            "Try again in a few seconds.",
            retry_after=RETRY_AFTER,
        )


def _without_version(path: str, model: str) -> tuple[str, str]:
    """models/NAME/versions/3/infer as models/NAME/infer and 3; else the path as it is, and ""."""
    if not path.startswith(f"{model}/versions/"):
        return path, ""
    version, slash, rest = path.removeprefix(f"{model}/versions/").partition("/")
    return f"{model}{slash}{rest}", version or "none"


def _too_slow(route: Route) -> TooSlow:
    return TooSlow(f"The model did not answer within {route.timeout_seconds} s.", "Send fewer rows at once.")


async def _refuse(request: Request, error: DomainError, cause: Exception | None = None) -> None:
    """A problem document, or, in the middle of an answer, the end of its connection."""
    if request.begun:
        log.warning("Request %s broke off: %s", request.id.decode(), cause or error.message)
    else:
        await request.refuse(error)


def _failure() -> DomainError:
    error = DomainError("The gateway failed on this request.", "Its log tells why.", code="server_error")
    error.status, error.title = 500, "Server error"
    return error


async def _refusal(connection: Connection, route: Route) -> DomainError:
    """What a model's process says that is no answer, as a sentence."""
    status, content = connection.status, b""
    async for piece in connection.pieces(route.timeout_seconds):
        content += piece
        if len(content) > LONGEST_REFUSAL:
            connection.close()
            break
    if status < 500:
        return Refused(_sentence(content, f"The model refused the request with status {status}."), status)
    return BadAnswer(
        _sentence(content, f"The model's process answered with status {status}."), "See the endpoint's logs."
    )


def _sentence(content: bytes, otherwise: str) -> str:
    try:
        found = json.loads(content)
    except (ValueError, RecursionError):
        return otherwise
    detail = (found.get("detail") or found.get("error")) if isinstance(found, Mapping) else None
    return str(detail)[:5000] if detail else otherwise
