"""What a service's replicas wrote: a file for each on its node, also after they ended, as long as the node lives."""

from __future__ import annotations

import re
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime

from cluster.dashboard import Dashboard
from common.checks import shorten
from common.errors import Invalid

FOLDER = "serving"  # as serving/ray_app.py calls it
AT_ONCE = 8
MOST_FILES = 100
MOST_TOLD = 20
MOST_LINES = 10_000
_NAME = re.compile(rf"{FOLDER}/(?P<service>[^@]+)@(?P<began>\d{{8}}T\d{{6}})@(?P<replica>[^@]+)\.log")
_LABEL = re.compile(r"(\[(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d [+-]\d{4})\]) \[\d+\]")


@dataclass(frozen=True)
class _File:
    began: str
    replica: str
    node_id: str
    name: str


def lines_of(
    dashboard: Dashboard,
    service_id: str,
    tail: int,
    search: str = "",
    replica: str | None = None,
    living: Sequence[str] = (),
) -> Sequence[str]:
    """The last `tail` lines of all its replicas, by time; each names its replica where it says when it was written.

    Of a service with more than 100 replicas so far, those of the last ones. Raises Invalid for a `replica` that is
    none of the `living` ones and has written nothing.
    """
    with ThreadPoolExecutor(AT_ONCE) as pool:
        nodes = [node.node_id for node in dashboard.nodes()]
        found = [
            file
            for files in pool.map(lambda node: _files(dashboard, node, service_id), nodes)
            for file in files
        ]
        known = list(dict.fromkeys([*living, *(file.replica for file in found)]))
        if replica is not None and known and replica not in known:
            raise Invalid.field(
                "replica",
                f"replica is {shorten(replica)}; it must be the id of a replica: {', '.join(known[:MOST_TOLD])}.",
            )
        wanted = [
            file for file in sorted(found, key=lambda each: each.began) if replica in (None, file.replica)
        ]
        most = MOST_LINES if search else tail
        read = pool.map(lambda file: _lines(dashboard, file, most), wanted[-MOST_FILES:])
        lines = sorted((line for each in read for line in each), key=lambda line: line[0])
    return [text for _, text in lines if search.lower() in text.lower()][-tail:]


def _files(dashboard: Dashboard, node_id: str, service_id: str) -> list[_File]:
    names = map(_NAME.fullmatch, dashboard.log_files(node_id, f"{FOLDER}/{service_id}@*"))
    return [
        _File(name["began"], name["replica"], node_id, name[0])
        for name in names
        if name and name["service"] == service_id
    ]


def _lines(dashboard: Dashboard, file: _File, tail: int) -> list[tuple[float, str]]:
    """Each line with its time; what says none was written with the line before it."""
    lines, at = [], 0.0
    for line in dashboard.log_tail(tail, node_id=file.node_id, filename=file.name):
        if label := _LABEL.match(line):
            at = datetime.strptime(label[2], "%Y-%m-%d %H:%M:%S %z").timestamp()
            line = f"{label[1]} [{file.replica}]{line[label.end() :]}"
        lines.append((at, line))
    return lines
