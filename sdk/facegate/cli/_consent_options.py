"""A consent on the command line: which text, since when, who took it."""

from __future__ import annotations

import functools
import hashlib
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import click
from click.core import ParameterSource

from facegate._consent import Consent, LegalBasis
from facegate._decision import is_reference
from facegate.errors import ConsentMissingError

if TYPE_CHECKING:
    from collections.abc import Callable

    _ParamType = click.ParamType[datetime]
else:
    _ParamType = click.ParamType  # no generic before click 8.4

__all__ = ["ConsentOptions", "Moment", "consent_options"]

_MAX_TEXT = 4 * 1024 * 1024


class Moment(_ParamType):
    """A day (2027-01-31: its beginning in UTC) or a time (2027-01-31T12:00:00Z)."""

    name = "TIME"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        """Read one."""
        if isinstance(value, datetime):
            return value
        try:
            moment = datetime.fromisoformat(value.replace("Z", "+00:00") if value.endswith("Z") else value)
        except ValueError:
            self.fail(f"{value!r} is no time: 2027-01-31 or 2027-01-31T12:00:00Z", param, ctx)
        return moment if moment.utcoffset() is not None else moment.replace(tzinfo=timezone.utc)


@dataclass(frozen=True, slots=True)
class ConsentOptions:
    """What was said on the command line. `record` makes a Consent of it.

    `named` is whether any of it was, beside what the environment says: where a consent may be given and need not.
    """

    text: Path | None
    version: str | None
    taken_by: str | None
    basis: LegalBasis | None
    purpose: str | None
    given_at: datetime | None
    expires_at: datetime | None
    guardian: str | None
    named: bool

    def record(self, folder: Path) -> Consent:
        """The consent, for the purpose and on the basis that the gate of the folder declared if none are given.

        Raises:
            click.UsageError: text or taker are missing.
            ConsentMissingError: the text cannot be read.
            DeclarationError, GateFolderError: see `read_declaration`.
        """
        if self.text is None or self.taken_by is None:
            raise click.UsageError("say what was agreed to with --text FILE, and who took the consent with --taken-by")
        from facegate._gate_folder import read_declaration  # noqa: PLC0415 - help comes without numpy

        declaration = read_declaration(folder)
        version = self.version if self.version is not None else self.text.stem
        if not is_reference(version):
            raise click.UsageError("--text-version: letters, digits, dots, dashes, underscores")
        return Consent(
            purpose=self.purpose if self.purpose is not None else declaration.purpose,
            legal_basis=self.basis if self.basis is not None else declaration.legal_basis,
            text_version=version,
            text_sha256=_hash(self.text),
            given_at=self.given_at if self.given_at is not None else _now(),
            taken_by=self.taken_by,
            expires_at=self.expires_at,
            guardian=self.guardian,
        )


def consent_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options of a consent, as `consent`: a ConsentOptions."""
    names = ("text", "version", "taken_by", "basis", "purpose", "given_at", "expires_at", "guardian")

    @functools.wraps(command)
    def call(*args: Any, **kwargs: Any) -> Any:
        source = click.get_current_context().get_parameter_source
        named = any(source(name) is ParameterSource.COMMANDLINE for name in names)
        values = {name: kwargs.pop(name) for name in names}
        return command(*args, consent=ConsentOptions(**values, named=named), **kwargs)

    for option in reversed(
        (
            click.option(
                "--text",
                type=click.Path(path_type=Path),
                envvar="FACEGATE_CONSENT_TEXT",
                help="The text that was agreed to; hashed, not kept. Also from FACEGATE_CONSENT_TEXT.",
            ),
            click.option("--text-version", "version", help="The text's version [default: its file's name]."),
            click.option(
                "--taken-by",
                envvar="FACEGATE_TAKEN_BY",
                help="Who took the consent, a reference. Also from FACEGATE_TAKEN_BY.",
            ),
            click.option(
                "--legal-basis",
                "basis",
                type=click.Choice(get_args(LegalBasis)),
                help="[default: the one that the gate declared]",
            ),
            click.option("--purpose", help="[default: the one that the gate declared; another is refused]"),
            click.option("--given-at", type=Moment(), help="When it was given [default: now]."),
            click.option("--expires-at", type=Moment(), help="Until when it counts [default: until withdrawn]."),
            click.option("--guardian", help="Reference of the guardian who gave it for a minor."),
        )
    ):
        call = option(call)
    return call


def _now() -> datetime:
    """Now, in the whole milliseconds that a gate knows: never later than its own time."""
    now = datetime.now(timezone.utc)
    return now.replace(microsecond=now.microsecond // 1000 * 1000)


def _hash(path: Path) -> str:
    try:
        with path.open("rb") as file:
            data = file.read(_MAX_TEXT + 1)
    except OSError as error:
        raise ConsentMissingError(
            f"the text {path} cannot be read: {error.strerror}", hint="name the file with the text that was agreed to"
        ) from None
    if not data.strip() or len(data) > _MAX_TEXT:
        raise ConsentMissingError(f"{path} holds no text", hint="name the file with the text that was agreed to")
    return hashlib.sha256(data).hexdigest()
