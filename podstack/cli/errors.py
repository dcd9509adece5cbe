"""What a failure becomes: an exit code, and lines on stderr that say what to do next. Never a traceback."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Iterator

import click

from podstack.cli.output import colours, one_line
from podstack.errors import (
    AuthenticationError,
    ConnectionFailed,
    NotFoundError,
    PermissionDeniedError,
    PodstackError,
    ValidationError,
)

OK, REFUSED, USAGE, NOT_ALLOWED, NOT_FOUND, UNREACHABLE = range(6)
INTERRUPTED, NO_READER = 130, 141
BY_KIND: dict[type[PodstackError], int] = {
    AuthenticationError: NOT_ALLOWED,
    PermissionDeniedError: NOT_ALLOWED,
    NotFoundError: NOT_FOUND,
    ConnectionFailed: UNREACHABLE,
}
# What to do next where the SDK would name a Python call, by the error's code.
HINTS = {
    "not_authenticated": "Sign in with `podstack login`, or set PODSTACK_API_TOKEN to one from the portal.",
    "no_project": "Name one with --project or PODSTACK_PROJECT; `podstack whoami` lists those you reach.",
}
MOST_ITEMS = 20


class NoReader(Exception):
    """Whoever read the output went away, as `head` does."""


def report(error: BaseException) -> int:
    """Says on stderr what went wrong and answers the exit code."""
    if isinstance(error, NoReader | BrokenPipeError):
        # Python flushes stdout once more at its end; nobody reads it.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return NO_READER
    if isinstance(error, click.Abort | KeyboardInterrupt):
        return INTERRUPTED
    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        error.show()
        return USAGE
    code, lines = _explained(error)
    for label, text in lines:
        shown = click.style(f"{label}:", fg="red" if label == "Error" else "cyan", bold=True)
        click.echo(f"{shown} {one_line(text)}", err=True, color=colours(sys.stderr))
    return code


def _explained(error: BaseException) -> tuple[int, list[tuple[str, str]]]:
    if isinstance(error, click.ClickException):
        return error.exit_code if error.exit_code > 1 else USAGE, list(_usage_lines(error))
    if isinstance(error, PodstackError):
        return _code_of(error), list(_lines(error))
    if isinstance(error, OSError):
        reason = error.strerror or str(error) or type(error).__name__
        named = f"{error.filename}: " if error.filename else ""
        return REFUSED, [("Error", f"{named}{reason}.")]
    last = traceback.extract_tb(error.__traceback__)[-1:]
    place = f" ({os.path.basename(last[0].filename)}, line {last[0].lineno})" if last else ""
    sentence = f"The command line itself failed with {type(error).__name__}: {error}{place}"
    return REFUSED, [("Error", sentence), ("Hint", "This is a defect; please report the line above.")]


def _usage_lines(error: click.ClickException) -> Iterator[tuple[str, str]]:
    yield "Error", error.format_message()
    context = getattr(error, "ctx", None)
    if context is not None:
        yield "Hint", f"See `{context.command_path} --help`."


def _code_of(error: PodstackError) -> int:
    """A value that is refused here, before any server was asked, was wrong usage."""
    if isinstance(error, ValidationError) and error.status is None:
        return USAGE
    return next((code for kind, code in BY_KIND.items() if isinstance(error, kind)), REFUSED)


def _lines(error: PodstackError) -> Iterator[tuple[str, str]]:
    """The message, each field's sentences that it does not hold, what stands in the way, and the hint."""
    yield "Error", error.message
    for name, sentences in error.errors.items():
        for sentence in sentences:
            if sentence not in error.message:
                yield "Error", f"{name}: {sentence}" if name else sentence
    for item in error.items[:MOST_ITEMS]:
        if str(item) not in error.message:
            yield "Held by", str(item)
    hint = HINTS.get(error.code, error.hint) if error.status is None else error.hint
    if hint:
        yield "Hint", hint
    if error.status is not None and error.status >= 500 and error.request_id:
        yield "Request", error.request_id
