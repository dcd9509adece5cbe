"""Packages of a version's own requirements.txt, in an environment of its own: built once, kept by digest.

What the file does not name comes from the platform's own packages, which stand behind those of the environment.
The file is a stranger's: only names with versions (and hashes) pass, no options, addresses or paths; and only wheels
are installed, since building a package would run its code here.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import re
import shutil
import signal
import subprocess
import sys
import sysconfig
import threading
import time
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from packaging.requirements import InvalidRequirement, Requirement

from serving.account import CODE

FILE = "requirements.txt"
LARGEST, MOST_LINES = 256 << 10, 2000
READY = ".ready"
BUILDING = "Its packages are being installed."
PASSED_ON = ("PATH", "LANG", "LC_ALL", "SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE")
PASSED_ON_BEGINNINGS = (
    "PIP_",
    "UV_",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "NO_PROXY",
    "http_proxy",
    "https_proxy",
    "no_proxy",
)
SWEEP_SECONDS = 3600
LONGEST_REASON = 500
_HASH = re.compile(r"\s--hash=sha256:[0-9a-f]{64}(?=\s|$)")
_COMMENT = re.compile(r"(^|\s)#.*$")


class CannotInstall(Exception):
    """The packages cannot be had; the text is one sentence for people."""


@dataclass
class Environment:
    """One environment: being built until `done`; `reason` says why it failed."""

    folder: Path
    log: Path
    done: threading.Event = field(default_factory=threading.Event)
    reason: str = ""

    @property
    def python(self) -> str:
        """The interpreter that sees its packages."""
        return str(self.folder / "bin" / "python")

    def keep(self) -> None:
        """Note that it is used now."""
        with contextlib.suppress(OSError):
            os.utime(self.folder / READY)


def file_of(model_dir: Path) -> Path | None:
    """The version's own list of packages, at the top of its files or of the one folder that holds them."""
    found = [path for path in (model_dir / FILE, *sorted(model_dir.glob(f"*/{FILE}"))) if path.is_file()]
    return None if not found or found[0].is_symlink() else found[0]


def requirements_of(path: Path) -> list[str]:
    """The packages that a file asks for. Raises `CannotInstall` naming the line that is something else."""
    if path.stat().st_size > LARGEST:
        raise CannotInstall(f"{FILE} is larger than {LARGEST} bytes.")
    text = path.read_text("utf-8", "replace").replace("\\\n", " ").replace("\\\r\n", " ")
    found = []
    for number, line in enumerate(text.splitlines()[:MOST_LINES], 1):
        asked = _COMMENT.sub("", line).strip()
        if not asked:
            continue
        if "$" in asked:  # installers put their environment, the index's password and all, for ${NAME}
            raise CannotInstall(
                f"{FILE} asks for {asked[:80]!r} in line {number}; a line may hold no $: write the value itself."
            )
        bare = _HASH.sub("", asked).strip()
        try:
            plain = Requirement(bare).url is None and not bare.startswith("-")
        except InvalidRequirement:
            plain = False
        if not plain:
            raise CannotInstall(
                f"{FILE} asks for {asked[:80]!r} in line {number}; only names of packages with versions are taken, "
                "such as scikit-learn==1.6.1."
            )
        found.append(asked)
    return found


def installer_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """What the installer may know: the machine's package index and proxies, nothing of the platform."""
    return {
        name: value
        for name, value in environ.items()
        if name in PASSED_ON or name.startswith(PASSED_ON_BEGINNINGS)
    }


class Environments:
    """All environments below `home`, which engines of one machine may share. Thread-safe."""

    def __init__(self, home: Path, timeout: int, keep_seconds: int) -> None:
        self._home, self._timeout, self._keep = home, timeout, keep_seconds
        self._lock = threading.Lock()
        self._known: dict[str, Environment] = {}
        self._swept = 0.0
        home.mkdir(parents=True, exist_ok=True)
        home.chmod(0o755)

    def of(self, path: Path) -> Environment:
        """The environment of a requirements.txt; begins to build it unless somebody did. Raises `CannotInstall`."""
        asked = requirements_of(path)
        digest = _digest(asked)
        with self._lock:
            known = self._known.get(digest)
            if known is not None and not (known.done.is_set() and known.reason):
                known.keep()
                return known
            folder = self._home / digest
            found = self._known[digest] = Environment(folder, self._home / f"{digest}.log")
            if _is_ready(found):
                found.done.set()
                return found
        threading.Thread(target=self._build, args=[found, asked], daemon=True).start()
        return found

    def sweep(self, used: Collection[Path]) -> None:
        """Remove, now and then, what no service uses and nobody used for long, and what was never finished.

        What is used is noted as such: another engine may sweep too.
        """
        now = time.monotonic()
        if self._swept and now - self._swept < sweep_every(self._keep):
            return
        self._swept = now
        with self._lock:
            building = {one.folder for one in self._known.values() if not one.done.is_set()}
            for folder in self._home.iterdir():
                if folder.name == "cache" or not folder.is_dir() or folder in building:
                    continue
                if folder in used:
                    Environment(folder, folder.with_suffix(".log")).keep()
                elif _idle_seconds(folder) >= self._keep:
                    self._remove(folder)

    def _remove(self, folder: Path) -> None:
        """Unless another engine builds it now, or has just begun to use it."""
        with contextlib.suppress(BlockingIOError), _locked(folder, fcntl.LOCK_NB):
            if _idle_seconds(folder) < self._keep:
                return
            self._known.pop(folder.name, None)
            shutil.rmtree(folder, ignore_errors=True)
            folder.with_suffix(".log").unlink(missing_ok=True)

    def _build(self, wanted: Environment, asked: list[str]) -> None:
        try:
            with _locked(wanted.folder):
                self._install_once(wanted, asked)
        except CannotInstall as error:
            wanted.reason = str(error)
        except (OSError, subprocess.SubprocessError) as error:
            wanted.reason = f"The packages of {FILE} could not be installed: {error}."
        finally:
            wanted.done.set()

    def _install_once(self, wanted: Environment, asked: list[str]) -> None:
        """Nothing to do where another engine has built it meanwhile; of what fails nothing is left."""
        if (wanted.folder / READY).exists():
            return
        try:
            self._install(wanted, asked)
        except BaseException:
            shutil.rmtree(wanted.folder, ignore_errors=True)
            raise

    def _install(self, wanted: Environment, asked: list[str]) -> None:
        shutil.rmtree(wanted.folder, ignore_errors=True)
        deadline = time.monotonic() + self._timeout
        wanted.log.unlink(missing_ok=True)
        self._run([sys.executable, "-m", "venv", "--without-pip", str(wanted.folder)], wanted, deadline)
        listed = wanted.folder / FILE
        listed.write_text("".join(f"{line}\n" for line in asked))
        self._run(_command(wanted.python, listed), wanted, deadline)
        for packages in wanted.folder.glob("lib/python*/site-packages"):
            behind = dict.fromkeys(sysconfig.get_path(kind) for kind in ("purelib", "platlib"))
            (packages / "zz-platform.pth").write_text("".join(f"{path}\n" for path in behind))
        (wanted.folder / READY).touch()

    def _run(self, command: list[str], wanted: Environment, deadline: float) -> None:
        environ = {**installer_environment(os.environ), "UV_CACHE_DIR": str(self._home / "cache" / "uv")}
        environ |= {
            "PIP_CACHE_DIR": str(self._home / "cache" / "pip"),
            "PYTHONPATH": str(CODE),
            "NO_COLOR": "1",
        }
        with wanted.log.open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-P", "-m", "serving.tied", str(os.getpid()), *command],
                env=environ,
                cwd=self._home,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                umask=0o022,
            )
        try:
            code = process.wait(max(1, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            raise CannotInstall(
                f"The packages of {FILE} were not installed within {self._timeout} seconds."
            ) from None
        if code:
            raise CannotInstall(
                f"The packages of {FILE} could not be installed: {last_sentence(wanted.log.read_text('utf-8', 'replace'))}"
            )


@contextlib.contextmanager
def _locked(folder: Path, how: int = 0) -> Iterator[None]:
    """While an environment is built or removed. Raises BlockingIOError with LOCK_NB where another has it."""
    with open(folder.with_suffix(".lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | how)
        yield


def _is_ready(environment: Environment) -> bool:
    """Whether it is built and, from now on, kept; not while it is being removed."""
    with contextlib.suppress(BlockingIOError), _locked(environment.folder, fcntl.LOCK_NB):
        if (environment.folder / READY).exists():
            environment.keep()
            return True
    return False


def sweep_every(keep: float) -> float:
    """Seconds between two sweeps: what is used is noted several times before another engine takes it for left."""
    return min(SWEEP_SECONDS, keep / 4)


def _command(python: str, listed: Path) -> list[str]:
    beside = str(Path(sys.executable).parent)
    uv = shutil.which("uv", path=os.pathsep.join([os.environ.get("PATH", os.defpath), beside]))
    words = ["--only-binary", ":all:", "-r", str(listed)]
    if uv:  # pip compiles by itself; serving processes write nothing, so each would compile anew whatever it imports
        return [uv, "pip", "install", "--no-progress", "--compile-bytecode", "--python", python, *words]
    return [
        sys.executable,
        "-m",
        "pip",
        "--python",
        python,
        "install",
        "--no-input",
        "--progress-bar",
        "off",
        *words,
    ]


def _digest(asked: list[str]) -> str:
    try:
        runtime = (CODE / "requirements" / "serving.txt").read_text()
    except OSError:
        runtime = ""
    whole = "\n".join([*asked, sys.version, sys.executable, runtime])
    return hashlib.sha256(whole.encode()).hexdigest()[:40]


def _idle_seconds(folder: Path) -> float:
    try:
        return time.time() - (folder / READY).stat().st_mtime
    except OSError:
        return float("inf")


def last_sentence(said: str) -> str:
    """What an installer said last: pip's last ERROR, or the last branch of uv's explanation."""
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    lines = [line for line in lines if not line.lower().startswith(("hint:", "[notice]", "warning:"))]
    errors = [line for line in lines if line.startswith("ERROR:")]
    branch = next(
        (at for at in range(len(lines) - 1, -1, -1) if lines[at].startswith(("╰─▶", "error:", "×"))), None
    )
    if errors:
        text = errors[-1].removeprefix("ERROR:")
    elif branch is not None:
        text = " ".join(lines[branch:]).lstrip("╰─▶×").removeprefix("error:").split("hint:")[0]
    else:
        text = lines[-1] if lines else "the installer ended without a word"
    text = " ".join(text.split())[:LONGEST_REASON]
    return text if text.endswith(".") else f"{text}."
