"""How things are written on the command line: versions as NAME/3, NAME@alias or NAME 3, pairs as key=value."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any, BinaryIO

import click

STAGES = click.Choice(["None", "Staging", "Production", "Archived"], case_sensitive=False)
Command = Callable[..., Any]


def versioned(*names: str, rest: str = "") -> Callable[[Command], Command]:
    """Arguments `model_name` and `version`, then one for each of `names`, then as many as come in `rest`."""
    metavar = " ".join(["NAME/VERSION", *(name.upper() for name in names)])
    if rest:
        metavar += f" [{rest.upper()}]…"

    def decorate(command: Command) -> Command:
        @wraps(command)
        def split(*args: Any, words: tuple[str, ...], **options: Any) -> Any:
            return command(*args, **_split(words, names, rest), **options)

        return click.argument("words", nargs=-1, required=True, metavar=metavar)(split)

    return decorate


def model_versions(words: Sequence[str]) -> tuple[str, list[str]]:
    """A model's name and several versions: NAME 1 2, NAME/1 NAME/2 or NAME/1 2."""
    first, *others = words
    model_name, ref = _compact(first) if _is_compact(first) else (first, "")
    refs = [ref] if ref else []
    for word in others:
        other, ref = _compact(word) if _is_compact(word) else (model_name, word)
        if other != model_name:
            raise click.UsageError(f"{word} is a version of another model than {model_name}.")
        refs.append(ref)
    return model_name, refs


def version_of(words: Sequence[str]) -> tuple[str, str | None]:
    """A model's name and, where one is given, a version."""
    model_name, refs = model_versions(words)
    if len(refs) > 1:
        raise click.UsageError("Give one version at most.")
    return model_name, refs[0] if refs else None


def pairs(texts: Sequence[str]) -> dict[str, str]:
    """Each key=value as an item; the value may hold further =."""
    for text in texts:
        if not text.partition("=")[0] or "=" not in text:
            raise click.UsageError(f"{text!r} is not written as key=value.")
    return {key: value for key, _, value in (text.partition("=") for text in texts)}


def numbers(texts: Sequence[str]) -> dict[str, float]:
    """Each key=value as an item whose value is a number; nan and inf are numbers."""
    if not texts:
        raise click.UsageError("Give at least one KEY=VALUE.")
    return {key: _number(key, value) for key, value in pairs(texts).items()}


def _number(key: str, text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise click.UsageError(f"{key} is {text!r}, which is no number.") from None


def whole_number(text: str) -> int:
    """A version's number, where an alias will not do."""
    digits = text.removeprefix("v")
    if not (digits.isascii() and digits.isdigit() and len(digits) < 10):
        raise click.UsageError(f"{text!r} is no version number.")
    return int(digits)


def read_json(file: BinaryIO) -> Any:
    """What a JSON file holds; a usage error when it is none, or when a key stands there twice: one would be lost."""
    try:
        return json.loads(file.read(), object_pairs_hook=_once)
    except (ValueError, RecursionError) as error:
        raise click.UsageError(f"{getattr(file, 'name', 'stdin')} is not JSON: {error}.") from error


def _once(items: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in items:
        if key in found:
            raise ValueError(f"the key {key[:80]!r} stands there twice")
        found[key] = value
    return found


def _split(words: Sequence[str], names: Sequence[str], rest: str) -> dict[str, Any]:
    """One word more than needed is NAME 3; with a rest of any length, the first word's form tells."""
    missing = click.UsageError("Write the version as NAME/3, NAME@alias or NAME 3.")
    compact = _is_compact(words[0]) if rest or len(words) <= len(names) + 1 else "/" in words[0]
    if compact:
        (model_name, ref), others = _compact(words[0]), words[1:]
    elif len(words) > 1:
        (model_name, ref), others = (words[0], words[1]), words[2:]
    else:
        raise missing
    if len(others) < len(names):
        raise click.UsageError(
            f"Missing argument {names[len(others)].upper()!r}."
            if compact or len(words) > len(names) + 1
            else missing.message
        )
    if len(others) > len(names) and not rest:
        raise click.UsageError(f"Got unexpected extra argument ({others[len(names)]}).")
    found: dict[str, Any] = dict(zip(names, others, strict=False))
    if rest:
        found[rest] = tuple(others[len(names) :])
    return {"model_name": model_name, "version": ref, **found}


def _is_compact(word: str) -> bool:
    return "/" in word or "@" in word


def _compact(word: str) -> tuple[str, str]:
    """A name holds no "/", but it may hold "@"; an alias holds neither."""
    model_name, _, ref = word.rpartition("/" if "/" in word else "@")
    if not model_name or not ref:
        raise click.UsageError(f"{word!r} does not name a version; write NAME/3, NAME@alias or NAME 3.")
    return model_name, ref
