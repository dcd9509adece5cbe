"""The command line `podstack`: a thin door over the SDK, one module for each noun.

door.py      the options that every command takes, and the client made of them
errors.py    exit codes, and failures in a line or two
output.py    tables for people, JSON for programs
refs.py      how a version is written: NAME/3, NAME@alias, NAME 3
"""

from podstack.cli import experiments, login, models
from podstack.cli.door import Root

__all__ = ["main", "root"]

root = Root(
    "podstack",
    commands=[
        login.login,
        login.logout,
        login.whoami,
        experiments.experiments,
        models.models,
    ],
)


def main() -> None:
    """Runs the command line of this process and exits with its code."""
    root.main(prog_name="podstack")
