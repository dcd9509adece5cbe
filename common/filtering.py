"""The filter language of every list: `metrics.accuracy > 0.9 AND (params.optimizer = 'adamw' OR NOT stage = 'Archived')`.

    expression  = term { OR term }          term = factor { AND factor }
    factor      = NOT factor | "(" expression ")" | field comparison
    field       = name [ "." key ]          a key with other signs than letters, digits and _-./ stands in `backticks`
    comparison  = ( = | != | < | <= | > | >= ) value | [NOT] IN "(" value { "," value } ")"
                | [NOT] LIKE text | [NOT] ILIKE text | IS [NOT] NULL
    value       = 'text' | "text" | number | TRUE | FALSE          a quote inside a text is written twice

Words of the language are read in capitals and in small letters. Every error names the character it stands at.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from django.db.models import Field, Lookup, Q

from common.checks import shorten
from common.errors import Invalid

LONGEST = 4000
MOST_COMPARISONS = 100
DEEPEST = 30
TOKENS = re.compile(
    r"""\s*(?:(?P<text>'(?:[^']|'')*'|"(?:[^"]|"")*")|(?P<number>[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?(?![\w.]))
    |(?P<operator><=|>=|!=|<>|=|<|>)|(?P<sign>[(),])|(?P<word>[^\W\d]\w*(?:\.(?:`[^`]+`|[\w\-./]+))?))""",
    re.VERBOSE,
)
ORDER = ("<", "<=", ">", ">=")
SHAPE = "Write comparisons as metrics.accuracy > 0.9, texts in quotes, joined by AND, OR and NOT."
Value = str | float | int | bool


@dataclass(frozen=True)
class Token:
    kind: str
    text: str
    at: int


@dataclass(frozen=True)
class Comparison:
    """One comparison. `operator`: =, !=, <, <=, >, >=, in, like, ilike, null; `value` a tuple for in, None for null."""

    name: str
    key: str | None
    operator: str
    value: Value | tuple[Value, ...] | None
    at: int


@dataclass(frozen=True)
class Joined:
    """`word` is AND, OR, or NOT with one part."""

    word: str
    parts: tuple[Expression, ...]


Expression = Comparison | Joined
Meaning = Callable[[Comparison], Q]


def conditions(text: str, vocabulary: Mapping[str, Meaning]) -> Q:
    """What `text` asks of rows whose fields the vocabulary knows; Invalid naming the character where it is wrong."""
    return _meaning(parse(text), text, vocabulary)


def _meaning(expression: Expression, text: str, vocabulary: Mapping[str, Meaning]) -> Q:
    if isinstance(expression, Comparison):
        meaning = vocabulary.get(expression.name.lower())
        if meaning is None:
            names = ", ".join(sorted(vocabulary))
            raise wrong(
                text, expression.at, f"there is no field {shorten(expression.name)}", f"There are: {names}."
            )
        try:
            return meaning(expression)
        except Unfitting as error:
            raise wrong(text, expression.at, str(error)) from error
    parts = [_meaning(part, text, vocabulary) for part in expression.parts]
    if expression.word == "NOT":
        return ~parts[0]
    joined = parts[0]
    for part in parts[1:]:
        joined = joined & part if expression.word == "AND" else joined | part
    return joined


class Unfitting(Exception):
    """A comparison that its field cannot answer; says why."""


def wrong(text: str, at: int, what: str, hint: str = "") -> Invalid:
    """The error about one character of the filter, counted from 1, with the place shown."""
    start = max(0, at - 30)
    around = text[start : at + 30]
    place = f"{around}\n{' ' * (at - start)}^"
    message = f"filter, character {at + 1}: {what}."
    error = Invalid.field("filter", message, hint or SHAPE, code="filter_wrong")
    error.items = place.split("\n")
    return error


def parse(text: str) -> Expression:
    """The expression that `text` writes."""
    if len(text) > LONGEST:
        raise Invalid.field("filter", f"filter has {len(text)} characters; at most {LONGEST} are allowed.")
    return _Parser(text).whole()


class _Parser:
    """Reads tokens from left to right, one rule of the grammar per method."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.tokens = _tokens(text)
        self.next = 0
        self.comparisons = 0
        self.depth = 0

    def whole(self) -> Expression:
        found = self.expression()
        token = self.peek()
        if token.kind != "end":
            raise self.wrong(token, f"expected AND, OR or the end, not {shorten(token.text)}")
        return found

    def expression(self) -> Expression:
        return self._joined("OR", self.term)

    def term(self) -> Expression:
        return self._joined("AND", self.factor)

    def _joined(self, word: str, part: Callable[[], Expression]) -> Expression:
        parts = [part()]
        while self.take_word(word):
            parts.append(part())
        return parts[0] if len(parts) == 1 else Joined(word, tuple(parts))

    def factor(self) -> Expression:
        self.depth += 1
        if self.depth > DEEPEST:
            raise self.wrong(self.peek(), f"the filter is nested more than {DEEPEST} deep")
        found = self._factor()
        self.depth -= 1
        return found

    def _factor(self) -> Expression:
        if self.take_word("NOT"):
            return Joined("NOT", (self.factor(),))
        if self.take_sign("("):
            found = self.expression()
            self.expect_sign(")")
            return found
        return self.comparison()

    def comparison(self) -> Expression:
        token = self.take()
        if token.kind != "word":
            raise self.wrong(token, f"expected the name of a field, not {self._shown(token)}")
        self.comparisons += 1
        if self.comparisons > MOST_COMPARISONS:
            raise self.wrong(token, f"the filter has more than {MOST_COMPARISONS} comparisons")
        name, _, key = token.text.partition(".")
        negated, operator, value = self._compared()
        found = Comparison(name, key.strip("`") or None, operator, value, token.at)
        return Joined("NOT", (found,)) if negated else found

    def _compared(self) -> tuple[bool, str, Value | tuple[Value, ...] | None]:
        token = self.peek()
        if token.kind == "operator":
            self.take()
            return False, "!=" if token.text == "<>" else token.text, self.value()
        if self.take_word("IS"):
            negated = self.take_word("NOT")
            self.expect_word("NULL")
            return negated, "null", None
        negated = self.take_word("NOT")
        if self.take_word("IN"):
            return negated, "in", self._values()
        for word in ("LIKE", "ILIKE"):
            if self.take_word(word):
                return negated, word.lower(), self.value()
        raise self.wrong(
            self.peek(), f"expected =, !=, <, <=, >, >=, IN, LIKE or IS, not {self._shown(self.peek())}"
        )

    def _values(self) -> tuple[Value, ...]:
        self.expect_sign("(")
        values = [self.value()]
        while self.take_sign(","):
            values.append(self.value())
        self.expect_sign(")")
        return tuple(values)

    def value(self) -> Value:
        token = self.take()
        if token.kind == "text":
            quote = token.text[0]
            return token.text[1:-1].replace(quote * 2, quote)
        if token.kind == "number":
            found = _number(token.text)
            if math.isinf(found):
                hint = "The infinities are written 'Infinity' and '-Infinity'."
                raise self.wrong(token, f"{shorten(token.text)} is more than a 64-bit number can hold", hint)
            return found
        if token.kind == "word" and token.text.lower() in ("true", "false"):
            return token.text.lower() == "true"
        hint = f"'{token.text}'" if token.kind == "word" else ""
        raise self.wrong(
            token,
            f"expected a value, not {self._shown(token)}",
            f"Texts stand in quotes: {hint}." if hint else "",
        )

    def peek(self) -> Token:
        return self.tokens[self.next]

    def take(self) -> Token:
        token = self.tokens[self.next]
        self.next = min(self.next + 1, len(self.tokens) - 1)
        return token

    def take_word(self, word: str) -> bool:
        return self._take("word", word)

    def take_sign(self, sign: str) -> bool:
        return self._take("sign", sign)

    def _take(self, kind: str, text: str) -> bool:
        token = self.peek()
        found = token.kind == kind and token.text.upper() == text
        self.next += found
        return found

    def expect_word(self, word: str) -> None:
        if not self.take_word(word):
            raise self.wrong(self.peek(), f"expected {word}, not {self._shown(self.peek())}")

    def expect_sign(self, sign: str) -> None:
        if not self.take_sign(sign):
            raise self.wrong(self.peek(), f"expected {sign!r}, not {self._shown(self.peek())}")

    def _shown(self, token: Token) -> str:
        return "the end" if token.kind == "end" else shorten(token.text)

    def wrong(self, token: Token, what: str, hint: str = "") -> Invalid:
        return wrong(self.text, token.at, what, hint)


def _tokens(text: str) -> list[Token]:
    found, at, end = [], 0, len(text.rstrip())
    while at < end:
        match = TOKENS.match(text, at)
        if match is None or match.lastgroup is None:
            while text[at].isspace():
                at += 1
            what = (
                "this quote is never closed"
                if text[at] in "'\"`"
                else f"{shorten(text[at])} is not expected here"
            )
            raise wrong(text, at, what)
        kind = match.lastgroup
        found.append(Token(kind, match.group(kind), match.start(kind)))
        at = match.end()
    return [*found, Token("end", "", end)]


def _number(text: str) -> float:
    if text.lstrip("+-").isdigit() and len(text) < 19:
        return int(text)
    return float(text)


# What fields of one column mean


def column(path: str) -> Meaning:
    """A text column at the ORM's `path`."""

    def meaning(asked: Comparison) -> Q:
        no_key(asked)
        if asked.operator == "in":
            return Q(**{f"{path}__in": [text_of(asked, each) for each in values_of(asked)]})
        if asked.operator == "null":
            return Q(**{f"{path}__isnull": True}) | Q(**{path: ""})
        value = like_pattern(asked) if "like" in asked.operator else text_of(asked, asked.value)
        found = Q(**{f"{path}__{lookup_of(asked)}": value})
        return ~found if asked.operator == "!=" else found

    return meaning


def word(path: str, words: Sequence[str]) -> Meaning:
    """A text column that holds one of these words, in capitals or not; to ask for another one is a typo."""
    known = {each.lower(): each for each in words}
    plain = column(path)

    def meaning(asked: Comparison) -> Q:
        if asked.operator not in ("=", "!=", "in"):
            return plain(asked)
        no_key(asked)
        wanted = [text_of(asked, each) for each in values_of(asked)]
        for each in wanted:
            if each.lower() not in known:
                raise Unfitting(f"{asked.name} is one of {', '.join(words)}, not {shorten(each)}")
        found = Q(**{f"{path}__in": [known[each.lower()] for each in wanted]})
        return ~found if asked.operator == "!=" else found

    return meaning


def whole(path: str) -> Meaning:
    """A column of whole numbers."""

    def meaning(asked: Comparison) -> Q:
        no_key(asked)
        if asked.operator == "in":
            return Q(**{f"{path}__in": [whole_of(asked, each) for each in values_of(asked)]})
        if asked.operator == "null":
            return Q(**{f"{path}__isnull": True})
        found = Q(**{f"{path}__{lookup_of(asked)}": whole_of(asked, asked.value)})
        return ~found if asked.operator == "!=" else found

    return meaning


def moment(path: str) -> Meaning:
    """A time column, compared with '2026-03-01' or '2026-03-01T14:00:00Z'; without a zone UTC is meant."""

    def meaning(asked: Comparison) -> Q:
        no_key(asked)
        if asked.operator == "null":
            return Q(**{f"{path}__isnull": True})
        if asked.operator not in (*ORDER, "=", "!="):
            raise Unfitting(f"{asked.name} is a time and knows =, !=, <, <=, >, >= and IS NULL")
        found = Q(**{f"{path}__{lookup_of(asked)}": moment_of(asked)})
        return ~found if asked.operator == "!=" else found

    return meaning


def truth(path: str) -> Meaning:
    """A column that is true or false."""

    def meaning(asked: Comparison) -> Q:
        no_key(asked)
        if asked.operator not in ("=", "!=") or not isinstance(asked.value, bool):
            raise Unfitting(f"{asked.name} is compared as {asked.name} = true or {asked.name} = false")
        return Q(**{path: asked.value == (asked.operator == "=")})

    return meaning


def no_key(asked: Comparison) -> None:
    """Refuses `stage.x`."""
    if asked.key is not None:
        raise Unfitting(f"{asked.name} has no keys: write {asked.name} alone")


def key_of(asked: Comparison) -> str:
    """The key of `metrics.accuracy`; refuses `metrics` alone."""
    if asked.key is None:
        raise Unfitting(f"{asked.name} needs a key: {asked.name}.<key>")
    return asked.key


def values_of(asked: Comparison) -> tuple[Value, ...]:
    """The values of IN, or the one value as a tuple."""
    return asked.value if isinstance(asked.value, tuple) else (asked.value,)  # type: ignore[return-value]


def text_of(asked: Comparison, value: object) -> str:
    """A text to compare with; NUL, which no column can hold, is refused."""
    if not isinstance(value, str):
        raise Unfitting(f"{asked.name} is a text: compare it with one in quotes, not {shorten(value)}")
    if "\0" in value:
        raise Unfitting("a text holds the character U+0000, which is not allowed")
    return value


def number_of(asked: Comparison, value: object) -> float:
    """A number to compare with; 'NaN', 'Infinity' and '-Infinity' are texts that mean one."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        if value in ("NaN", "Infinity", "-Infinity"):
            return float(str(value))
        raise Unfitting(f"{asked.name} is a number: compare it with one, not {shorten(value)}")
    return value


def whole_of(asked: Comparison, value: object) -> float:
    """The same for a column of whole numbers: between two of them lies 1.5, but it equals none."""
    found = number_of(asked, value)
    if not math.isfinite(found) or (asked.operator not in ORDER and found != int(found)):
        raise Unfitting(f"{asked.name} is a whole number: compare it with one, not {shorten(value)}")
    return found


def moment_of(asked: Comparison) -> datetime:
    """A time to compare with."""
    try:
        return in_utc(datetime.fromisoformat(str(asked.value)))
    except (ValueError, OverflowError):
        raise Unfitting(
            f"{asked.name} is a time: compare it with one such as '2026-03-01' or '2026-03-01T14:00:00Z'"
        ) from None


def in_utc(moment: datetime) -> datetime:
    """UTC where it names no zone, else turned into it: PostgreSQL reads no zone beyond ±15:59, Python does.

    OverflowError when that is no date of the calendar.
    """
    return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)


def lookup_of(asked: Comparison) -> str:
    """The ORM's name of the operator; != is the ORM's exact, to be turned round."""
    names = {"<": "lt", "<=": "lte", ">": "gt", ">=": "gte", "like": "like", "ilike": "ilike"}
    return names.get(asked.operator, "exact")


def like_pattern(asked: Comparison) -> str:
    """LIKE's pattern: % is any text, _ any character; a backslash takes their meaning away."""
    pattern = text_of(asked, asked.value)
    if (len(pattern) - len(pattern.rstrip("\\"))) % 2:
        raise Unfitting("a pattern must not end with a backslash; write it twice to mean one")
    return pattern


@Field.register_lookup
class Like(Lookup):
    """LIKE as SQL has it, with the pattern as it is."""

    lookup_name = "like"
    form = "{} LIKE {}"

    def as_sql(self, compiler: Any, connection: Any) -> tuple[str, tuple[Any, ...]]:
        left, left_params = self.process_lhs(compiler, connection)
        right, right_params = self.process_rhs(compiler, connection)
        return self.form.format(left, right), (*left_params, *right_params)


@Field.register_lookup
class CaselessLike(Like):
    """The same in capitals, which is what the trigram indexes hold."""

    lookup_name = "ilike"
    form = "UPPER({}) LIKE UPPER({})"
