"""How the portal writes numbers, sizes and times, and small look-ups that templates cannot do."""

from __future__ import annotations

import json
import math
import shlex
from collections.abc import Iterable, Mapping
from datetime import timedelta
from functools import cache, lru_cache
from importlib import import_module
from typing import Any
from urllib.parse import quote

import nh3
from django import template
from django.contrib.humanize.templatetags.humanize import naturaltime
from django.forms import BoundField, CheckboxInput, RadioSelect, Select
from django.http import QueryDict
from django.templatetags.static import static
from django.utils.html import escape, format_html
from django.utils.safestring import SafeString, mark_safe
from markdown_it import MarkdownIt

register = template.Library()
KEYED = frozenset({"tags", "params", "metrics", "validation", "min", "max"})

# Of itself it adds up to 65,536 cells to rows that are too short: seconds of work for a text of some lines.
import_module("markdown_it.rules_block.table").MAX_AUTOCOMPLETED_CELLS = 1000  # type: ignore[attr-defined]
MARKDOWN = MarkdownIt("commonmark", {"html": False}).enable("table")
MARKDOWN_TAGS = {
    *("p", "br", "hr", "h1", "h2", "h3", "h4", "h5", "h6", "strong", "em", "code", "pre", "blockquote"),
    *("ul", "ol", "li", "a", "table", "thead", "tbody", "tr", "th", "td"),
}

UNITS = ("B", "kB", "MB", "GB", "TB", "PB")
PILLS = {
    "Production": "good",
    "Staging": "warn",
    "Active": "good",
    "Ready": "good",
    "Completed": "good",
    "Running": "busy",
    "Deploying": "busy",
    "Updating": "busy",
    "Undeploying": "busy",
    "Pending": "busy",
    "Queued": "busy",
    "Succeeded": "good",
    "Skipped": "",
    "Approved": "good",
    "Waiting": "busy",
    "Delivered": "good",
    "Rejected": "bad",
    "Expired": "warn",
    "Bypassed": "warn",
    "Missed": "warn",
    "Degraded": "warn",
    "Quarantined": "bad",
    "Failed": "bad",
    "Killed": "bad",
    "Bad": "bad",
}


@register.filter
def group_name(stored: str) -> str:
    """A project's own group is kept as `<slug>/<name>`."""
    return stored.rpartition("/")[2]


@register.filter
def filesize(size: float) -> str:
    """Bytes in decimal units: 1536 -> "1.5 kB"."""
    value, unit = float(size), 0
    while value >= 999.5 and unit < len(UNITS) - 1:
        value, unit = value / 1000, unit + 1
    return f"{value:.0f} {UNITS[unit]}" if unit == 0 else f"{value:.1f} {UNITS[unit]}"


@register.filter
def percent(share: float) -> str:
    """0.05 -> "5 %"."""
    return f"{100 * share:.3g} %"


@register.filter
def number(value: Any) -> str:
    """A metric as people read it: five significant digits, NaN and ∞ by their signs, "–" for nothing."""
    if value is None:
        return "–"
    if not isinstance(value, float):
        return str(value)
    if math.isinf(value):
        return "∞" if value > 0 else "-∞"
    return "NaN" if math.isnan(value) else f"{value:.5g}"


@register.filter
def signed(value: Any) -> str:
    """A difference with its sign; "–" for nothing."""
    if value is None:
        return "–"
    return f"+{number(value)}" if value > 0 else number(value)


@register.filter
def duration(value: timedelta) -> str:
    """A span in its two largest units: "2 h 5 min"."""
    seconds = int(value.total_seconds())
    if seconds < 1:
        return f"{value.total_seconds() * 1000:.0f} ms"
    parts = [
        (seconds // 86400, "d"),
        (seconds // 3600 % 24, "h"),
        (seconds // 60 % 60, "min"),
        (seconds % 60, "s"),
    ]
    shown = [f"{count} {unit}" for count, unit in parts if count]
    return " ".join(shown[:2])


@register.filter
def markdown(text: str) -> SafeString:
    """CommonMark with tables as clean HTML: no raw HTML, no scripts, no images, links that pass nothing on."""
    shown = MARKDOWN.render(text)
    return mark_safe(  # noqa: S308  nh3 lets nothing through but these tags
        nh3.clean(
            shown,
            tags=MARKDOWN_TAGS,
            attributes={"a": {"href"}, "code": {"class"}, "ol": {"start"}},
            url_schemes={"http", "https", "mailto"},
            link_rel="noopener noreferrer nofollow",
        )
    )


@register.filter
def below(url: str, name: str) -> str:
    """The address of what is called `name` below `url`."""
    return f"{url}{quote(name, safe='')}/"


@register.filter
def version_link(url: str, number: int) -> SafeString:
    """The link to a version of the model at `url`."""
    return mark_safe(f'<a href="{escape(url)}versions/{int(number)}/">v{int(number)}</a>')  # noqa: S308  escaped


@register.filter
def split(text: str) -> list[str]:
    """Words with blanks between them."""
    return text.split()


@register.filter
def changed_rows(rows: Iterable[Any]) -> list[Any]:
    """The rows of a comparison that differ."""
    return [row for row in rows if row.differs]


@register.filter
def equal_rows(rows: Iterable[Any]) -> list[Any]:
    """The rows of a comparison that do not differ."""
    return [row for row in rows if not row.differs]


@register.filter
def item(values: Mapping[str, Any], key: str) -> Any:
    """The value of `key`, or None."""
    return values.get(key)


@register.filter
def as_json(value: Any) -> str:
    """JSON with a line for each item."""
    return json.dumps(value, indent=2, ensure_ascii=False)


@register.filter
@lru_cache(maxsize=1000)
def pill(word: str) -> SafeString:
    """A stage or state as a badge."""
    kind = PILLS.get(word, "")
    return format_html('<span class="pill {}">{}</span>', f"pill-{kind}" if kind else "", word)


@register.filter
def ago(moment: Any) -> SafeString:
    """A moment as relative time; the exact one on hover."""
    if moment is None:
        return format_html("{}", "–")
    iso = moment.isoformat()
    exact = f"{iso[:10]} {iso[11:19]} UTC"
    shown = f'<time datetime="{iso}" title="{exact}" data-relative>{naturaltime(moment)}</time>'
    return mark_safe(shown)  # noqa: S308  figures and words of our own


@register.filter
def is_checkbox(field: BoundField) -> bool:
    """Whether its label stands behind the box."""
    return isinstance(field.field.widget, CheckboxInput)


DRESSES = ((RadioSelect, ""), (CheckboxInput, "form-check-input"), (Select, "form-select"))


@register.filter
def control(field: BoundField) -> SafeString:
    """A form field in the portal's dress, with its error announced."""
    widget = field.field.widget
    dress = next((dress for kind, dress in DRESSES if isinstance(widget, kind)), "form-control")
    attrs: dict[str, str | bool] = {"class": dress}
    if field.errors:
        attrs = {"class": f"{dress} is-invalid".strip(), "aria-invalid": "true"}
    return field.as_widget(attrs=attrs)


@register.simple_tag
@cache
def icon(name: str) -> SafeString:
    """One icon of the sprite, hidden from screen readers."""
    return format_html(
        '<svg width="18" height="18" aria-hidden="true" focusable="false"><use href="{}#{}"></use></svg>',
        static("icons.svg"),
        name,
    )


@register.simple_tag
def copyable(text: str, cut: int, href: str = "") -> SafeString:
    """An id or hash, cut to `cut` characters with the whole on hover, and the button that copies it."""
    whole, short = escape(text), escape(text if len(text) <= cut else f"{text[: cut - 1]}…")
    name, where = ("a", f' href="{escape(href)}"') if href else ("span", "")
    return mark_safe(  # noqa: S308  each part is escaped
        f'<{name} class="id"{where} title="{whole}">{short}</{name}><button class="copy" type="button" '
        f'data-copy="{whole}" aria-label="Copy {short}">{icon("copy")}</button>'
    )


@register.simple_tag(takes_context=True)
def query(context: dict[str, Any], **changes: Any) -> str:
    """The page's query string with some parameters changed; None removes one."""
    params: QueryDict = context["request"].GET.copy()
    for name, value in changes.items():
        if value is None:
            params.pop(name, None)
        else:
            params[name] = str(value)
    return "?" + params.urlencode()


@register.filter
def scalar(value: Any) -> str:
    """A parameter's value: text as it is, everything else as JSON writes it (null, true, 0.1)."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


@register.filter
def python_text(text: str) -> str:
    """The text as Python code writes it; what cannot be seen is escaped."""
    return json.dumps(text, ensure_ascii=not text.isprintable())


@register.filter
def shell_word(text: str) -> str:
    """The text as one word of a command; what cannot be seen is escaped."""
    if text.isprintable():
        return shlex.quote(text)
    plain = [each if each.isprintable() and each not in "'\\" else f"\\U{ord(each):08x}" for each in text]
    return f"$'{''.join(plain)}'"


@register.filter
def shape(value: Any) -> str:
    """A tensor's shape: `batch × 3`; a dimension that may be any is `?`."""
    if not isinstance(value, list):
        return "any"
    return " × ".join("?" if each is None else str(each) for each in value) or "scalar"


@register.filter
def with_key(field: str) -> str:
    """A field of the filter language as one writes it: those of what was logged take a key."""
    return f"{field}.KEY" if field in KEYED else field
