"""How a command opens a gate: its folder, a role's credential, and models only if it looks at pictures.

What a gate is made of is imported when one is opened: help and completion come without numpy.
"""

from __future__ import annotations

import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

from facegate.cli._memory import refuse_core_dumps
from facegate_edge._passphrase import ask_passphrase, stored_passphrase
from facegate_edge.errors import KeyPassphraseError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from facegate._administrator import Administrator
    from facegate._credentials import Credential, Role
    from facegate._enroller import Enroller
    from facegate._examiner import GatePipeline
    from facegate._gate import Gate
    from facegate._privacy_officer import PrivacyOfficer
    from facegate._recognizer import Recognizer
    from facegate._reviewer import Reviewer
    from facegate_edge._output import Output

__all__ = [
    "as_administrator",
    "as_enroller",
    "as_officer",
    "as_recognizer",
    "as_reviewer",
    "confirm",
    "dry_run_option",
    "gate_option",
    "opened",
    "yes_option",
]


def gate_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add `--gate`, as `folder`."""
    return click.option(
        "--gate",
        "folder",
        metavar="DIR",
        required=True,
        type=click.Path(path_type=Path, file_okay=False),
        envvar="FACEGATE_GATE",
        help="The gate's folder. Also from FACEGATE_GATE.",
    )(command)


def yes_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add `--yes`, as `yes`."""
    return click.option("--yes", is_flag=True, help="Do not ask.")(command)


def dry_run_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add `--dry-run`, as `dry_run`."""
    return click.option("--dry-run", is_flag=True, help="Say what would be destroyed, destroy nothing.")(command)


@contextmanager
def opened(folder: Path, *, models: bool = False) -> Iterator[Gate]:
    """The gate of a folder. Without `models` none are loaded, and it looks at no picture."""
    refuse_core_dumps()
    pipeline: Any = None if models else _NoModels()
    with _open(folder, pipeline) as gate:
        yield gate


@contextmanager
def as_recognizer(folder: Path, *, models: bool = True) -> Iterator[Recognizer]:
    """The recognizer's role of a gate, opened with the credential that the environment or a prompt gives."""
    credential = _credential("recognizer")
    with opened(folder, models=models) as gate:
        yield gate.recognizer(credential)


@contextmanager
def as_enroller(folder: Path, *, models: bool = False) -> Iterator[Enroller]:
    """The enroller's role."""
    credential = _credential("enroller")
    with opened(folder, models=models) as gate:
        yield gate.enroller(credential)


@contextmanager
def as_reviewer(folder: Path) -> Iterator[Reviewer]:
    """The reviewer's role."""
    credential = _credential("reviewer")
    with opened(folder) as gate:
        yield gate.reviewer(credential)


@contextmanager
def as_officer(folder: Path) -> Iterator[PrivacyOfficer]:
    """The privacy officer's role."""
    credential = _credential("privacy_officer")
    with opened(folder) as gate:
        yield gate.privacy_officer(credential)


@contextmanager
def as_administrator(folder: Path) -> Iterator[Administrator]:
    """The administrator's role."""
    credential = _credential("administrator")
    with opened(folder) as gate:
        yield gate.administrator(credential)


def confirm(output: Output, question: str, *, yes: bool) -> None:
    """Go on only if the operator wants it: `--yes`, or an answer at the terminal.

    Raises:
        click.UsageError: there is nobody to ask.
        SystemExit: the answer was no; exit 1, after saying that nothing was done.
    """
    if yes:
        return
    if is_scripted(output):
        raise click.UsageError(f"{question} There is nobody to ask: say --yes")
    if not click.confirm(question, default=False, err=True):
        output.emit({"done": False}, "nothing was done")
        click.get_current_context().exit(1)


def is_scripted(output: Output) -> bool:
    """Whether nobody can be asked: the output is read by a program, or there is no terminal."""
    return bool(getattr(output, "json", False)) or sys.stdin is None or not sys.stdin.isatty()


def _credential(role: Role) -> Credential:
    from facegate._credentials import find_credential  # noqa: PLC0415 - see the module

    return find_credential(role)


def _open(folder: Path, pipeline: GatePipeline | None) -> Gate:
    """Open the gate; its device key has a passphrase only if somebody gave it one."""
    from facegate._gate_folder import open_gate  # noqa: PLC0415 - see the module

    try:
        return open_gate(folder, pipeline=pipeline)
    except KeyPassphraseError:
        passphrase = stored_passphrase()
        if passphrase is None:
            passphrase = ask_passphrase("Passphrase of the gate's device key")
        if passphrase is None:
            raise
    return open_gate(folder, passphrase=passphrase, pipeline=pipeline)


class _NoModels:
    """In the place of a pipeline: loading models takes longer than most commands."""

    space = ""
    template_length = 0
    has_liveness = False

    def detect(self, *_: object) -> NoReturn:
        """Nobody comes here: the commands that look at pictures open the gate with its models."""
        raise RuntimeError("this command opened the gate without models")

    measure = embed = liveness = detect

    def close(self) -> None:
        """There is nothing to free."""
