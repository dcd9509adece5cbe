"""The options that every command takes, before or after its name, and the client that is made of them."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from typing import Any, NoReturn, TypeVar

import click

from podstack.cli import errors
from podstack.cli.output import (
    Columns,
    colours,
    one_line,
    print_fields,
    print_json,
    print_json_list,
    print_table,
)
from podstack.client import MLOpsClient
from podstack.errors import PodstackWarning
from podstack.version import __version__

WHOLE = 1000  # letters: a list of commands wraps a sentence instead of cutting it
AGENT = f"podstack-cli/{__version__}"
F = TypeVar("F", bound=Callable[..., Any])
HELP = """Track runs, register and promote models, deploy them: the model registry from a terminal.

Settings come from options, then PODSTACK_API_ENDPOINT, PODSTACK_API_TOKEN, PODSTACK_PROJECT and PODSTACK_PROFILE,
then ~/.podstack/credentials, which `podstack login` writes. The options below may also follow a command.

A version is written NAME/3, NAME@alias or NAME 3.

Exit codes: 0 done, 1 refused, 2 wrong usage, 3 not signed in or not allowed, 4 not found, 5 the server cannot be
reached, 130 Ctrl-C."""


@dataclass
class Door:
    """What the options say (None: not given), and what a command answers with."""

    endpoint: str | None = None
    token: str | None = None
    project: str | None = None
    profile: str | None = None
    output: str = "table"
    quiet: bool = False

    @cached_property
    def client(self) -> MLOpsClient:
        token = self.token
        if token == "-":  # noqa: S105 - the sign that asks for one
            token = read_secret("API token")
        client = MLOpsClient(token, self.endpoint, self.project, profile=self.profile, agent=AGENT)
        client.http.shows_progress = not self.quiet
        return client

    @property
    def wants_json(self) -> bool:
        return self.output == "json"

    def show(self, answer: Any, leave_out: Sequence[str] = ()) -> None:
        """One answer, all of it; people are spared the fields of `leave_out`."""
        if self.wants_json:
            print_json(answer)
        else:
            print_fields(answer, leave_out)

    def show_all(
        self, answers: Iterable[Any], columns: Columns, nouns: str, limit: int | None = None
    ) -> None:
        """A list as it comes, page by page; `nouns` says what there is none of."""
        wanted = islice(iter(answers), limit)
        if self.wants_json:
            print_json_list(wanted)
        elif not print_table(wanted, columns):
            self.say(f"There are no {nouns}.")

    def done(self, text: str, answer: Any = None) -> None:
        """A verb whose answer is of no interest to people: a remark for them, JSON for programs."""
        if self.wants_json:
            print_json(answer)
        self.say(text)

    def ask_first(self, yes: bool, question: str) -> None:
        """Ends the command unless --yes was given or the answer is yes."""
        if not yes and not confirm(question, "--yes"):
            self.decline()

    def decline(self) -> NoReturn:
        """Ends the command because whoever was asked did not agree."""
        self.say("Nothing was changed.")
        raise click.exceptions.Exit(errors.REFUSED)

    def say(self, text: str) -> None:
        """A remark, on stderr so that it never mixes with the answer; none with --quiet."""
        if not self.quiet:
            click.echo(one_line(text), err=True)


pass_door = click.make_pass_decorator(Door, ensure=True)


def read_secret(label: str) -> str:
    """Asked for without echo; when nobody sits there, the first line of stdin."""
    if sys.stdin.isatty():
        return str(click.prompt(label, hide_input=True, err=True)).strip()
    return sys.stdin.readline().strip()


def confirm(question: str, instead: str) -> bool:
    """Yes or no; without anybody to ask, a usage error that names what to give `instead`."""
    try:
        return click.confirm(question, err=True)
    except click.Abort as abort:
        raise _nobody_there(abort, instead) from None


def ask(question: str, instead: str) -> str:
    """A text that is typed in; see `confirm`."""
    try:
        return str(click.prompt(question, err=True, default="", show_default=False))
    except click.Abort as abort:
        raise _nobody_there(abort, instead) from None


def _nobody_there(abort: click.Abort, instead: str) -> Exception:
    if isinstance(abort.__context__, EOFError):
        return click.UsageError(f"This asks first, and nobody answers here: give {instead}.")
    return abort


# The options


def _remember(context: click.Context, option: click.Parameter, value: Any) -> None:
    if value is not None:
        setattr(context.ensure_object(Door), str(option.name), value)


def common_options(hidden: bool) -> list[click.Parameter]:
    """Those of every command; behind a command's name they are not listed again."""

    def option(*names: str, **more: Any) -> click.Option:
        return click.Option(names, expose_value=False, callback=_remember, hidden=hidden, **more)

    return [
        option("--endpoint", metavar="URL", help="The server's address."),
        option("--token", help="An API token; better set PODSTACK_API_TOKEN. With - it is asked for."),
        option("--project", metavar="SLUG", help="The project that is meant."),
        option("--profile", metavar="NAME", help="The section of ~/.podstack/credentials to use."),
        option("-o", "--output", type=click.Choice(["table", "json"]), help="table (the default) or json."),
        option("-q", "--quiet", is_flag=True, default=None, help="No remarks, only the answer."),
    ]


def limited(command: F) -> F:
    """--limit, for lists."""
    text = "Stop after so many; without it, all are listed."
    return click.option("--limit", type=click.IntRange(min=1), help=text)(command)


def unasked(command: F) -> F:
    """--yes, for what asks first."""
    return click.option("--yes", is_flag=True, help="Do not ask.")(command)


class Verb(click.Command):
    """A command; it takes the common options too."""

    def get_short_help_str(self, limit: int = 45) -> str:
        return super().get_short_help_str(WHOLE)

    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        self.params += common_options(hidden=True)


class Noun(click.Group):
    """Commands on one noun."""

    command_class = Verb

    def get_short_help_str(self, limit: int = 45) -> str:
        return super().get_short_help_str(WHOLE)


class Root(Noun):
    """All commands; as a program it ends with one of the exit codes of `podstack.cli.errors`."""

    def __init__(self, name: str, commands: Sequence[click.Command]) -> None:
        version = click.version_option(__version__, prog_name=name)
        super().__init__(name, commands=commands, params=common_options(hidden=False), help=HELP)
        version(self)

    def main(self, *args: Any, **more: Any) -> Any:
        alone = more.pop("standalone_mode", True)
        more["standalone_mode"] = False
        if not alone:
            return super().main(*args, **more)
        sys.exit(self._run(*args, **more))

    def invoke(self, context: click.Context) -> Any:
        try:
            return super().invoke(context)
        except BrokenPipeError as error:
            raise errors.NoReader from error  # click would exit with 1 by itself

    def _run(self, *args: Any, **more: Any) -> int:
        try:
            with shown_warnings():
                code = super().main(*args, **{"color": colours(sys.stdout), **more})
                if sys.stdout is not None:
                    sys.stdout.flush()
        except SystemExit:
            raise
        except BaseException as error:
            return errors.report(error)
        return code if isinstance(code, int) else errors.OK


@contextmanager
def shown_warnings() -> Iterator[None]:
    """Remarks of the SDK as one line on stderr each."""

    def show(message: Warning | str, category: type[Warning], *place: Any, **more: Any) -> None:
        label = click.style("Warning:", fg="yellow", bold=True)
        text = f"{label} {one_line(str(message))}"
        click.echo(text, err=True, color=colours(sys.stderr))

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.simplefilter("always", PodstackWarning)
        warnings.showwarning = show
        yield
