"""The launcher with doubles for the platform's own processes; PostgreSQL and the broker are real.

Run as a program: what `python -m launcher` is, for tests of starting and ending.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path

from config.env import ROOT, Env, load
from launcher import commands, demo
from launcher.platform import Platform
from launcher.process import Child

# Prints a mark of its environment, and has a child of its own, as granian, Celery and the engine have.
SERVER = """
import os, time
print("secret" if "SECRET_KEY" in os.environ else "no secret", sorted(os.environ), flush=True)
os.fork()
time.sleep(600)
"""
WEB = """
import http.server, sys
class Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = b'{"results": []}'
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
http.server.ThreadingHTTPServer((sys.argv[1], int(sys.argv[2])), Answer).serve_forever()
"""
MANAGE = """
import os, sys
if os.environ.get("DOUBLE_FAILS") == sys.argv[1]:
    sys.exit("the database said no")
if sys.argv[1] == "bootstrap" and not os.path.exists(sys.argv[3]):
    with open(os.open(sys.argv[3], os.O_WRONLY | os.O_CREAT, 0o600), "w") as file:
        file.write("export PODSTACK_API_ENDPOINT=%s\\n" % os.environ["PUBLIC_URL"])
        file.write("export PODSTACK_API_TOKEN=podstack_a_b\\nexport PODSTACK_PROJECT=default\\n")
        file.write("export PODSTACK_ADMIN_USER=admin\\nexport PODSTACK_ADMIN_PASSWORD='it is random'\\n")
if sys.argv[1] == "dispatch_jobs":
    import time
    time.sleep(600)
"""
DEMO = """
import os
print("The example says", os.environ["PODSTACK_PROJECT"], "SECRET_KEY" in os.environ)
raise SystemExit(int(os.environ.get("DOUBLE_DEMO_STATUS", "0")))
"""


def double(name: str, code: str, env: Env, environ: Mapping[str, str], *words: str) -> Child:
    argv = [sys.executable, "-c", code, *words]
    return Child(name, argv, log=commands.log_of(env, name), cwd=ROOT, env=environ)


def main() -> int:
    commands.engine = lambda env, port, environ: double("engine", SERVER, env, environ)
    commands.worker = lambda env, environ: double("worker", SERVER, env, environ)
    commands.long_worker = lambda env, environ: double("long-worker", SERVER, env, environ)
    commands.ticker = lambda env, environ: double("ticker", SERVER, env, environ)
    commands.web = lambda env, environ: double("web", WEB, env, environ, env.host, str(env.port))
    commands.manage = lambda env, environ, name, *words: double(name, MANAGE, env, environ, *words)
    env = load(os.environ)
    env.var_dir.mkdir(parents=True, exist_ok=True)
    demo.SCRIPT = Path(str(env.var_dir) + ".demo.py")
    demo.SCRIPT.write_text(DEMO)
    return Platform(env).run()


if __name__ == "__main__":
    sys.exit(main())
