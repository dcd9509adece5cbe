"""`make bench`: prints the table and writes it to bench/results/."""

from __future__ import annotations

import argparse
import json
import os
import platform
import tempfile
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

from bench.load import Figure, Make, measure, median_of
from bench.servers import ROOT, Server, mlflow, ours
from bench.work import Ours, Piece, Theirs, pieces


def main() -> None:
    options = _options()
    # A short path: PostgreSQL's socket lies below it.
    with tempfile.TemporaryDirectory(prefix="bench-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        folder.chmod(0o755)
        with ours(folder) as us, mlflow(folder, options.mlflow, us.database_url) as them:
            rows = _table(us, them, options)
    _report(rows, us, them, options)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="bench", description=__doc__)
    parser.add_argument("--mlflow", type=Path, required=True, help="the Python that MLflow is installed for")
    parser.add_argument("--seconds", type=float, default=3, help="length of one measurement")
    parser.add_argument("--rounds", type=int, default=3, help="measurements each; the median counts")
    parser.add_argument("--only", default="", help="rows, with commas between them")
    return parser.parse_args()


def _table(us: Server, them: Server, options: argparse.Namespace) -> list[dict[str, object]]:
    our_work, their_work = Ours(us, "bench"), Theirs(them, "bench")
    our_work.prepare_transitions()
    their_work.prepare_transitions()
    wanted = set(filter(None, options.only.split(",")))
    rows = []
    for piece in pieces(our_work, their_work):
        if wanted and piece.name not in wanted:
            continue
        for clients in (1, 8):
            rows.append(_row(piece, clients, us, them, options))
            print(_line(rows[-1]), flush=True)
    return rows


def _row(
    piece: Piece, clients: int, us: Server, them: Server, options: argparse.Namespace
) -> dict[str, object]:
    """Both servers in turn, so that a machine that slows down slows down both."""
    found: dict[str, list[Figure]] = {"ours": [], "mlflow": []}
    for turn in range(options.rounds):
        for server, make in ((us, piece.ours), (them, piece.theirs)):
            offset = (turn * 2 + (clients > 1)) * 10_000_000

            def shifted(number: int, make: Make = make, offset: int = offset) -> object:
                return make(number + offset)

            found[server.name].append(
                measure(server.base, server.headers, shifted, clients=clients, seconds=options.seconds)  # type: ignore[arg-type]
            )
    mine, other = median_of(found["ours"]), median_of(found["mlflow"])
    return {
        "piece": piece.name,
        "clients": clients,
        "ours": asdict(mine),
        "mlflow": asdict(other),
        "times": mine.rate / other.rate,
        "aim": piece.aim,
    }


def _line(row: dict[str, object]) -> str:
    mine, other = row["ours"], row["mlflow"]
    assert isinstance(mine, dict) and isinstance(other, dict)
    return (
        f"{row['piece']:<16} {row['clients']:>2} clients   ours {mine['rate']:8.1f}/s p99 {mine['p99']:7.1f} ms"
        f"   mlflow {other['rate']:8.1f}/s p99 {other['p99']:7.1f} ms   {row['times']:6.2f}x  aim {row['aim']}x"
    )


def _report(rows: list[dict[str, object]], us: Server, them: Server, options: argparse.Namespace) -> None:
    now = datetime.now(UTC)
    report = {
        "at": now.isoformat(timespec="seconds"),
        "machine": {
            "cores": os.cpu_count(),
            "python": platform.python_version(),
            "system": platform.system(),
        },
        "seconds": options.seconds,
        "rounds": options.rounds,
        "start_to_first_answer": {"ours": us.started_in, "mlflow": them.started_in},
        "rows": rows,
    }
    target = ROOT / "bench" / "results" / f"{now:%Y-%m-%d-%H%M}.json"
    target.parent.mkdir(exist_ok=True)
    target.write_text(json.dumps(report, indent=1) + "\n")
    print(f"start to first answer: ours {us.started_in:.1f} s, mlflow {them.started_in:.1f} s")
    print(f"written to {target.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
