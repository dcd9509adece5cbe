"""The table, on the screen and in bench/results/."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

from bench.servers import ROOT


@dataclass(frozen=True)
class Row:
    """One line: our figure, the other server's, how often we do better, how often we mean to."""

    name: str
    unit: str
    ours: float | None
    theirs: float | None
    times: float | None
    aim: float | None
    note: str

    @property
    def reached(self) -> str:
        if self.times is None or self.aim is None:
            return ""
        return "yes" if self.times >= self.aim else "no"

    def __str__(self) -> str:
        return (
            f"{self.name:<32} ours {_shown(self.ours):>10}  mlflow {_shown(self.theirs):>10} {self.unit:<8} "
            f"{_shown(self.times):>7}x  aim {_shown(self.aim):>5}x {self.reached:<3} {self.note}"
        )


def write_report(rows: Sequence[Row], about: Mapping[str, object]) -> None:
    """Writes both files, named by the time."""
    folder = ROOT / "bench" / "results"
    folder.mkdir(exist_ok=True)
    name = str(about["at"])[:16].replace(":", "").replace("T", "-")
    lines = [{**asdict(row), "reached": row.reached} for row in rows]
    (folder / f"{name}.json").write_text(json.dumps({"about": about, "rows": lines}, indent=1) + "\n")
    (folder / f"{name}.md").write_text(_markdown(rows, about))
    print(f"written to bench/results/{name}.md and .json")


def _markdown(rows: Sequence[Row], about: Mapping[str, object]) -> str:
    head = ", ".join(f"{key} {value}" for key, value in about.items())
    lines = [f"# Measured {about['at']}", "", head, ""]
    lines += [
        "| what | unit | ours | MLflow | times | aim | reached | |",
        "| --- | --- | ---: | ---: | ---: | ---: | --- | --- |",
    ]
    for row in rows:
        cells = [
            row.name,
            row.unit,
            *map(_shown, (row.ours, row.theirs, row.times, row.aim)),
            row.reached,
            row.note,
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def _shown(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
