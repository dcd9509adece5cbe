"""The command line `podstack`: a thin door over the SDK, one module for each noun.

door.py      the options that every command takes, and the client made of them
errors.py    exit codes, and failures in a line or two
output.py    tables for people, JSON for programs
words.py     how things are written: versions as NAME/3, NAME@alias or NAME 3, pairs as key=value
"""

from podstack.cli import (
    aliases,
    approvals,
    bulk,
    bundles,
    care,
    deployments,
    experiments,
    lineage,
    login,
    models,
    notifications,
    people,
    runs,
    schedules,
    webhooks,
)
from podstack.cli.door import Root

__all__ = ["main", "root"]

root = Root(
    "podstack",
    commands=[
        login.login,
        login.logout,
        login.whoami,
        experiments.experiments,
        runs.runs,
        models.models,
        bundles.versions,
        aliases.aliases,
        approvals.approvals,
        schedules.schedules,
        deployments.deployments,
        lineage.lineage,
        lineage.datasets,
        care.protections,
        care.trash,
        bulk.bulk,
        notifications.notifications,
        webhooks.webhooks,
        people.members,
        people.groups,
        people.tokens,
        people.audit,
    ],
)


def main() -> None:
    """Runs the command line of this process and exits with its code."""
    root.main(prog_name="podstack")
