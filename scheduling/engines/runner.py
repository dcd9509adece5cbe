"""What a cluster's job runs: `python runner.py` beside spec.json, configuration.json, supervisor.py and code/.

It stands alone (the standard library, no secrets of the platform). The cluster may kill it at any moment; the program
runs under a supervisor in a session of its own, which then ends it and all that it started. Of this process's own
environment the program gets nothing but the names in spec.json and where Python is. What it writes comes out here,
between two lines that begin with MARK; the last of them says how it ended.
"""

from __future__ import annotations

import ctypes
import json
import os
import shutil
import signal
import sys
import tempfile
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))
MARK = "\x1epodstack "
PR_SET_PDEATHSIG = 1


def main() -> int:
    folder = Path(tempfile.mkdtemp(prefix="training-"))
    supervisor = os.fork()
    if not supervisor:
        os._exit(_supervise(folder))
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: os.kill(supervisor, signal.SIGTERM))
    _, status = os.waitpid(supervisor, 0)
    return os.waitstatus_to_exitcode(status)


def _supervise(folder: Path) -> int:
    import supervisor  # type: ignore[import-not-found]  # it lies beside this file only on a node

    os.setsid()
    signal.signal(signal.SIGTERM, lambda *_: (folder / "stop").touch())
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
    said: dict[str, Any] = {
        "exit_code": None,
        "reason": "not started",
        "details": "Its files were not readable.",
    }
    try:
        spec = json.loads((HERE / "spec.json").read_text())
        shutil.copytree(HERE / "code", folder / "work")
        for path in (folder / "work").rglob("*"):
            if supervisor.is_script(path):
                path.chmod(path.stat().st_mode | 0o700)
        shutil.copy(HERE / "configuration.json", folder)
        (folder / "log").symlink_to("/proc/self/fd/1")
        print(f"{MARK}begins", flush=True)
        said = supervisor.run(folder, {**spec, "env": _environment(folder, spec["env"]), "uid": None})
    finally:
        print(f"\n{MARK}{json.dumps(said)}", flush=True)
        shutil.rmtree(folder, ignore_errors=True)
    return 0 if said["exit_code"] == 0 and not said["reason"] else 1


def _environment(folder: Path, names: list[str]) -> dict[str, str]:
    return {
        **{name: os.environ[name] for name in names if name in os.environ},
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
        "PYTHONPATH": str(HERE),
        "PYTHONUNBUFFERED": "1",
        "HOME": str(folder / "work"),
        "LANG": "C.UTF-8",
        "PODSTACK_CONFIGURATION": str(folder / "configuration.json"),
    }


if __name__ == "__main__":
    sys.exit(main())
