"""`make bench`: prints the table and writes it to bench/results/, as JSON and as Markdown."""

from __future__ import annotations

import argparse
import os
import platform
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from bench.broker import broker_rows
from bench.crowd import crowd
from bench.files import Transfers, big_file, many_files, transfers
from bench.lineage import lineage_rows
from bench.load import Figure, Make, Request, measure, median_of
from bench.memory import web_memory
from bench.pages import page_rows
from bench.report import Row, write_report
from bench.schedules import schedule_rows
from bench.seed import seed_ours, seed_theirs
from bench.servers import Server, mlflow, ours
from bench.serving import gateway_rows, sleeper_rows
from bench.work import POINTS, Ours, Piece, Theirs, pieces


@dataclass(frozen=True)
class Bench:
    """Both servers with what they are asked. Without the other server only ours is measured."""

    us: Server
    them: Server | None
    ours: Ours
    theirs: Theirs | None
    options: argparse.Namespace
    folder: Path

    @property
    def servers(self) -> list[Server]:
        return [self.us, *([self.them] if self.them else [])]


def main() -> None:
    options = _options()
    # A short path: PostgreSQL's socket lies below it.
    with (
        tempfile.TemporaryDirectory(prefix="bench-", ignore_cleanup_errors=True) as name,
        ExitStack() as stack,
    ):
        folder = Path(name)
        folder.chmod(0o755)
        us = stack.enter_context(ours(folder))
        them = (
            stack.enter_context(mlflow(folder, options.mlflow, us.database_url)) if options.mlflow else None
        )
        bench = Bench(us, them, Ours(us, "bench"), Theirs(them, "bench") if them else None, options, folder)
        rows = list(_measured(bench))
    write_report(rows, _about(options))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="bench", description=__doc__)
    parser.add_argument(
        "--mlflow", type=Path, help="the Python that MLflow is installed for; without, only ours"
    )
    parser.add_argument("--seconds", type=float, default=3, help="length of one measurement")
    parser.add_argument("--rounds", type=int, default=3, help="measurements each; the median counts")
    parser.add_argument("--models", type=int, default=50_000, help="models that the lists are taken from")
    parser.add_argument("--versions", type=int, default=20_000, help="versions of the model that has most")
    parser.add_argument("--file", type=int, default=1024, help="MiB of the large file")
    parser.add_argument("--crowd", type=float, default=20, help="seconds that 64 clients ask")
    parser.add_argument("--sleepers", type=int, default=100, help="endpoints that are scaled to zero")
    parser.add_argument("--only", default="", help="rows, with commas between them; a * stands for any text")
    return parser.parse_args()


def _about(options: argparse.Namespace) -> dict[str, object]:
    return {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "system": platform.system(),
        **{
            name: getattr(options, name)
            for name in ("seconds", "rounds", "models", "versions", "file", "crowd", "sleepers")
        },
    }


def _measured(bench: Bench) -> Iterator[Row]:
    """Each row as it is measured; one that fails says so and the others go on."""
    for name, measured in _table(bench):
        if not _wanted(name, bench.options.only):
            continue
        try:
            found = measured()
        except Exception as error:
            found = [Row(name, "", None, None, None, None, f"failed: {' '.join(str(error).split())[:300]}")]
        for row in found:
            print(row, flush=True)
            yield row


def _wanted(name: str, only: str) -> bool:
    return not only or any(Path(name).match(each) for each in only.split(","))


def _table(bench: Bench) -> Iterator[tuple[str, Callable[[], list[Row]]]]:
    yield "start", lambda: [_less("start to first answer", "s", [s.started_in for s in bench.servers], 2)]
    yield "memory", lambda: [_less("web processes at rest", "MiB", [web_memory(s) for s in bench.servers], 4)]
    yield "gateway", lambda: _gateway(bench)
    yield "sleepers", lambda: sleeper_rows(bench.us, bench.folder, bench.options.sleepers)
    _prepare(bench)
    for piece in pieces(bench.ours, bench.theirs):
        yield piece.name, partial(_closed_loops, piece, bench)
    yield "broker_away", lambda: broker_rows(bench.us)
    yield "lineage", lambda: lineage_rows(bench.us)
    yield "schedules", lambda: schedule_rows(bench.us, bench.folder)
    yield "pages", lambda: page_rows(bench.us)
    yield "crowd", lambda: _crowd(bench)
    yield "big_file", lambda: _big_file(bench)
    yield "many_files", lambda: _many_files(bench)


def _gateway(bench: Bench) -> list[Row]:
    options = bench.options
    return gateway_rows(bench.us, options.mlflow, bench.folder, options.seconds, options.rounds)


def _prepare(bench: Bench) -> None:
    bench.ours.prepare_transitions()
    bench.ours.prepare_history()
    seed_ours(bench.us.database_url, bench.options.models, bench.options.versions)
    if bench.them and bench.theirs:
        bench.theirs.prepare_transitions()
        bench.theirs.prepare_history()
        seed_theirs(bench.them.database_url, bench.options.models, bench.options.versions, bench.theirs.run)


def _closed_loops(piece: Piece, bench: Bench) -> list[Row]:
    return [_loops(piece, clients, bench) for clients in (1, 8)]


def _loops(piece: Piece, clients: int, bench: Bench) -> Row:
    """Both servers in turn, so that a machine that slows down slows down both."""
    makes = [(bench.us, piece.ours)]
    if bench.them and piece.theirs:
        makes.append((bench.them, piece.theirs))
    found: dict[str, list[Figure]] = {server.name: [] for server, _ in makes}
    for turn in range(bench.options.rounds):
        for server, make in makes:
            shifted = partial(_shifted, make, (turn * 2 + (clients > 1)) * 10_000_000)
            figure = measure(
                server.base, server.headers, shifted, clients=clients, seconds=bench.options.seconds
            )
            found[server.name].append(figure)
    mine = median_of(found["ours"])
    other = median_of(found["mlflow"]) if "mlflow" in found else None
    points = POINTS if piece.name.startswith("log_points") else 1
    return Row(
        f"{piece.name}, {clients} client{'s' * (clients > 1)}",
        "points/s" if points > 1 else "/s",
        mine.rate * points,
        other.rate * points if other else None,
        mine.rate / other.rate if other else None,
        piece.aim,
        f"p50 {mine.p50:.1f} ms, p99 {mine.p99:.1f} ms"
        + (f"; MLflow p50 {other.p50:.1f} ms, p99 {other.p99:.1f} ms" if other else ""),
    )


def _shifted(make: Make, offset: int, number: int) -> Request:
    return make(number + offset)


def _less(name: str, unit: str, values: list[float], aim: float, note: str = "") -> Row:
    """A row where less is better: seconds, MiB."""
    mine, other = values[0], values[1] if len(values) > 1 else None
    return Row(name, unit, mine, other, other / mine if other and mine else None, aim, note)


def _crowd(bench: Bench) -> list[Row]:
    found = []
    for server, work in ((bench.us, bench.ours), (bench.them, bench.theirs)):
        if server is not None and work is not None:
            write = partial(work.log_points, points=10)
            found.append(crowd(server, write, work.get_model, bench.options.crowd))
    rows = [_less("64 clients, p99", "ms", [each.percentile(0.99) for each in found], 1)]
    note = "; ".join(
        f"{'MLflow ' * (index > 0)}{each.answered} answered, {each.put_off} put off, {each.failed} failed"
        for index, each in enumerate(found)
    )
    other = found[1].failed if len(found) > 1 else None
    return [*rows, Row("64 clients, failed", "requests", found[0].failed, other, None, None, note)]


def _big_file(bench: Bench) -> list[Row]:
    path = big_file(bench.folder, bench.options.file << 20)
    mib = bench.options.file
    found = [
        transfers(server, path, bench.folder, bench.options.mlflow or Path()) for server in bench.servers
    ]
    return [
        _rate(f"{mib} MiB up", mib, [each.up for each in found], 2),
        _rate(f"{mib} MiB down", mib, [each.down for each in found], 3),
        Row(
            f"{mib} MiB: web processes grew",
            "MiB",
            found[0].grew,
            _second(found, "grew"),
            None,
            None,
            "aim: 64",
        ),
        _again("second upload", found[0].up, found[0].up_again),
        _again("second download", found[0].down, found[0].down_again),
    ]


def _second(found: list[Transfers], name: str) -> float | None:
    return getattr(found[1], name) if len(found) > 1 else None


def _rate(name: str, mib: int, seconds: list[float], aim: float) -> Row:
    rates = [mib / each for each in seconds]
    other = rates[1] if len(rates) > 1 else None
    return Row(name, "MiB/s", rates[0], other, rates[0] / other if other else None, aim, "")


def _again(name: str, first: float, again: float) -> Row:
    return Row(name, "s", again, first, first / again, 50, "beside our own first one")


def _many_files(bench: Bench) -> list[Row]:
    path = many_files(bench.folder)
    found = [
        transfers(server, path, bench.folder, bench.options.mlflow or Path()) for server in bench.servers
    ]
    return [
        _less("1,000 files of 10 KiB up", "s", [each.up for each in found], 3),
        _less("1,000 files of 10 KiB down", "s", [each.down for each in found], 3),
    ]


if __name__ == "__main__":
    main()
