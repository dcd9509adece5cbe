"""`python -m launcher` runs the platform; `python -m launcher env` prints the SDK's export lines."""

from __future__ import annotations

import os
import sys

from config.env import BadSetting, load
from launcher import house
from launcher.platform import Platform

USAGE = (
    "Usage: python -m launcher (runs the platform) or python -m launcher env (prints the SDK's export lines)"
)


def main(words: list[str]) -> int:
    """The exit status: 0 ended as asked, 1 could not start, 2 a setting or word is wrong."""
    try:
        env = load(os.environ)
    except BadSetting as error:
        print(error, file=sys.stderr)
        return 2
    if not words:
        return Platform(env).run()
    if words != ["env"]:
        print(USAGE, file=sys.stderr)
        return 2
    lines = house.export_lines(house.sdk_exports(env))
    if not lines:
        print(f"{env.var_dir / 'dev.env'} is not there yet: `make run` makes it.", file=sys.stderr)
        return 1
    print("\n".join(lines))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
