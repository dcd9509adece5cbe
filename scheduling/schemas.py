"""JSON Schemas that people upload: refused where they lead nowhere or never end, checked against in bounded work.

Whoever may upload code may write a schema, and web processes check configurations against it: neither a reference that
turns in a circle, nor a pattern that tries text in millions of ways, nor parts that multiply may keep one busy.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from functools import lru_cache
from itertools import islice
from typing import Any

from jsonschema import Draft202012Validator
from jsonschema.exceptions import SchemaError, UnknownType, ValidationError, best_match
from jsonschema.validators import extend
from referencing import Registry
from referencing.exceptions import Unresolvable
from referencing.jsonschema import DRAFT202012

from common.checks import shorten
from common.errors import Invalid

REFERENCES = ("$ref", "$dynamicRef")
SAME_VALUE = ("not", "if", "then", "else", *REFERENCES)  # what looks at the value that it stands beside
SAME_VALUE_EACH = ("allOf", "anyOf", "oneOf")
LONGEST_WAY = 50  # references and parts, one in another, that look at the same value
LONGEST_PATTERN = 200
MOST_REPEATS = 4
MOST_WAYS = 1000
MOST_STEPS = 500_000
STEP = 500  # characters that a pattern looks at in about the time of another step
MOST_ERRORS = 100
GROUP = re.compile(
    r"\(\?(?::|=|!|<=|<!|P<)"
)  # groups that only look or only join: the others change how the rest is read
TOKEN = re.compile(
    r"\\.|\[\^?\]?(?:\\.|[^\]\\])*\]|\(\??|\)|\||(?:[*+?]|\{(?:\d+(?:,\d*)?|,\d+)\})[?+]?|.", re.DOTALL
)

Node = dict[str, Any]


def check_rules(schema: Node) -> None:
    """Invalid where the schema is none, refers outside or in a circle, or has a pattern that may try for hours."""
    _check_meaning(schema)
    nodes = list(_nodes(schema))
    for node in nodes[1:]:
        if isinstance(node.get("$id"), str):
            raise _refusal("schema has an $id inside of it; it must be one document.")
    for node in nodes:
        for pattern in _patterns(node):
            _look_at(pattern)
    _check_references(schema, nodes)


def fault(value: object, schema: Node) -> ValidationError | None:
    """What is most wrong with the value; Invalid where finding out would take too long."""
    work = _Work()
    before = WORK.set(work)
    try:
        return best_match(islice(Bounded(_of_one_draft(schema)).iter_errors(value), MOST_ERRORS))
    except (RecursionError, Unresolvable, UnknownType) as error:
        raise Invalid.field(
            "configuration",
            "configuration cannot be checked: the training code's schema has a reference that leads nowhere or"
            " never ends.",
            "Upload the code with another schema.",
        ) from error
    finally:
        WORK.reset(before)


def _of_one_draft(value: Any) -> Any:
    """The schema without $schema: at each part that names a draft, the library would go on with its own validator."""
    if isinstance(value, dict):
        kept = {key: each for key, each in value.items() if key != "$schema" or not isinstance(each, str)}
        return {key: _of_one_draft(each) for key, each in kept.items()}
    return [_of_one_draft(each) for each in value] if isinstance(value, list) else value


class _Work:
    """Counts what one check has cost so far."""

    def __init__(self) -> None:
        self.steps = 0.0

    def add(self, steps: float) -> None:
        self.steps += steps
        if self.steps > MOST_STEPS:
            raise Invalid.field(
                "configuration",
                "configuration cannot be checked: with the training code's schema it takes more than"
                f" {MOST_STEPS} steps.",
                "Shorten its texts and lists, or upload the code with a simpler schema.",
            )


WORK: ContextVar[_Work] = ContextVar("work")


def _counted(keyword: str, check: Callable[..., Any]) -> Callable[..., Any]:
    def counted(validator: Any, rule: Any, value: Any, schema: Any) -> Iterator[ValidationError]:
        work = WORK.get()
        work.add(1 + _size(rule) + _size(value))
        if keyword == "pattern" and isinstance(value, str):
            work.add(_cost(rule, value))
        elif keyword == "patternProperties" and isinstance(value, dict):
            for pattern in rule:
                work.add(sum(_cost(pattern, name) for name in value))
        yield from check(validator, rule, value, schema) or ()

    return counted


def _size(value: object) -> int:
    return len(value) if isinstance(value, list | dict) else 0


def _cost(pattern: str, text: str) -> float:
    """Steps that looking for the pattern may take at worst."""
    ways, power = _look_at(pattern)
    return ways * len(text) ** power / math.factorial(power) / STEP


def _unique(validator: Any, rule: Any, value: Any, schema: Any) -> Iterator[ValidationError]:
    """The library compares each item with each other one."""
    if rule and isinstance(value, list):
        written = {json.dumps(_as_number(each), sort_keys=True) for each in value}
        if len(written) < len(value):
            yield ValidationError(f"{shorten(value, 200)} has non-unique elements")


def _as_number(value: Any) -> Any:
    """1.0 is 1 in JSON Schema."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, list):
        return [_as_number(each) for each in value]
    return {key: _as_number(each) for key, each in value.items()} if isinstance(value, dict) else value


Bounded: Any = extend(
    Draft202012Validator,
    {
        keyword: _counted(keyword, _unique if keyword == "uniqueItems" else check)
        for keyword, check in Draft202012Validator.VALIDATORS.items()
    },
)


def _check_meaning(node: object) -> None:
    try:
        Draft202012Validator.check_schema(node)  # type: ignore[arg-type]
    except SchemaError as error:
        raise _refusal(f"schema is no JSON Schema: {shorten(error.message, 300)}") from error


def _check_references(schema: Node, nodes: list[Node]) -> None:
    resolver = Registry().resolver_with_root(DRAFT202012.create_resource(schema))
    targets: dict[str, Any] = {}
    checked = set(_parts(schema))
    for node in nodes:
        for ref in _references(node):
            if not ref.startswith("#"):
                raise _refusal("schema refers to another document; it must hold all that it needs.")
            if ref in targets:
                continue
            try:
                targets[ref] = resolver.lookup(ref).contents
            except Unresolvable as error:
                raise _refusal(
                    f"schema refers to {shorten(ref)}, and there is nothing at that place."
                ) from error
            if id(targets[ref]) not in checked:
                _check_meaning(targets[ref])
                checked |= set(_parts(targets[ref]))
    ways: dict[int, int] = {}
    for node in nodes:
        _way(node, targets, ways, 0)


def _parts(schema: Any) -> Iterator[int]:
    """The identity of a schema and of each one in it, which are checked with it."""
    yield id(schema)
    for part in DRAFT202012.create_resource(schema).subresources():
        yield from _parts(part.contents)


def _way(node: Node, targets: dict[str, Any], ways: dict[int, int], depth: int) -> int:
    """How many parts of a schema look at one value in a row from here on; Invalid where there is no end."""
    known = ways.get(id(node))
    if known == 0 or depth + (known or 0) > LONGEST_WAY:
        raise _refusal(
            "schema refers to itself without end: a $ref must not come back to where it began before it has gone"
            f" down into the value, nor after more than {LONGEST_WAY} parts."
        )
    if known is None:
        ways[id(node)] = 0  # being looked at
        below = [_way(each, targets, ways, depth + 1) for each in _beside(node, targets)]
        known = ways[id(node)] = 1 + max(below, default=0)
    return known


def _beside(node: Node, targets: dict[str, Any]) -> Iterator[Node]:
    """The schemas that look at the same value as this one."""
    found: list[Any] = [targets[ref] for ref in _references(node)]
    found += [node.get(key) for key in SAME_VALUE if key not in REFERENCES]
    for key in SAME_VALUE_EACH:
        found += node[key] if isinstance(node.get(key), list) else []
    dependent = node.get("dependentSchemas")
    found += dependent.values() if isinstance(dependent, dict) else []
    return (each for each in found if isinstance(each, dict))


def _nodes(value: object) -> Iterator[Node]:
    """Each object of the document, the whole first."""
    if isinstance(value, dict):
        yield value
    for each in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from _nodes(each)


def _references(node: Node) -> list[str]:
    """Where it refers to; a parameter may be called $ref too, and holds an object then."""
    return [ref for key in REFERENCES if isinstance(ref := node.get(key), str)]


def _patterns(node: Node) -> list[str]:
    found = [node["pattern"]] if isinstance(node.get("pattern"), str) else []
    by_name = node.get("patternProperties")
    return found + list(by_name) if isinstance(by_name, dict) else found


@lru_cache(maxsize=1000)
def _look_at(pattern: str) -> tuple[int, int]:
    """How long a pattern may look at a text of n characters: (ways, power) for ways * n ** power / power!."""
    if len(pattern) > LONGEST_PATTERN:
        raise _refusal(
            f"schema has a pattern of {len(pattern)} characters; at most {LONGEST_PATTERN} are allowed."
        )
    try:
        re.compile(pattern)
    except (re.error, OverflowError, RecursionError) as error:
        raise _refusal(f"schema has the pattern {shorten(pattern)}, which cannot be read.") from error
    ways, repeats = _count(pattern)
    if repeats > MOST_REPEATS or ways > MOST_WAYS:
        raise _refusal(
            f"schema has the pattern {shorten(pattern)}, which tries text in too many ways; at most"
            f" {MOST_REPEATS} repeats such as * and few ? and | are allowed."
        )
    anchored = pattern.startswith("^") and "|" not in pattern
    return ways, repeats + (not anchored)


def _count(pattern: str) -> tuple[int, int]:
    """(ways, repeats): in how many ways ? and | read it, and how many of its repeats vary in length."""
    varies, choices, last = [False], [1], False  # per open group; last: what a repeat would repeat
    ways, repeats = 1, 0
    for found in TOKEN.finditer(pattern):
        part = found.group()
        if part == "(?" and not GROUP.match(pattern, found.start()):
            raise _refusal(
                f"schema has the pattern {shorten(pattern)}; after (? it may have only :, =, !, <=, <! or P<name>."
            )
        if part.startswith("("):
            varies.append(False)
            choices.append(1)
        elif part == ")" and len(varies) > 1:
            last = varies.pop() or choices[-1] > 1
            ways *= choices.pop()
            varies[-1] = varies[-1] or last
        elif part == "|":
            choices[-1] += 1
        elif part[0] in "*+?" or (part[0] == "{" and len(part) > 1):
            if part[0] != "?" and last:
                raise _refusal(
                    f"schema has the pattern {shorten(pattern)}, which repeats what holds a repeat or a choice."
                )
            fixed = part[0] == "{" and "," not in part
            ways *= 2 if part[0] == "?" else 1
            repeats += not fixed and part[0] != "?"
            varies[-1] = varies[-1] or not fixed
            last = last or not fixed
        else:
            last = False
    return ways * math.prod(choices), repeats


def _refusal(sentence: str) -> Invalid:
    return Invalid.field("schema", sentence)
