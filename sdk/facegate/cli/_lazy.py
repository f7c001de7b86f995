"""Commands that are listed without being loaded, `--json` on every one of them, and commands of other packages."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from facegate.errors import CommandUnavailableError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from importlib.metadata import EntryPoint

    from click.shell_completion import CompletionItem

__all__ = ["Lazy", "LazyGroup"]

ENTRY_POINTS = "facegate.commands"


class Lazy(NamedTuple):
    """A command that is somewhere else: `target` is "module:attribute", or "" for one that another package brings.

    `extra` is what `pip install 'facegate[...]'` needs for it. (No dataclass: importing those takes 10 ms of `--help`.)
    """

    help: str
    target: str = ""
    extra: str = ""


class LazyGroup(click.Group):
    """A group that loads a command when it is run.

    Its own commands come first: a package that registers a name that is taken is not heard, so that installing
    something cannot change what `facegate keys new` does.

    Args:
        path: the group's place, as the prefix of entry-point names: "" for the root, "bundle." for `facegate bundle`.
        commands: the group's own commands; those without a target are known to come from another package.
    """

    def __init__(self, *args: Any, path: str = "", lazy: Mapping[str, Lazy | click.Group], **kwargs: Any) -> None:
        kwargs["no_args_is_help"] = False  # a missing command is an error like others
        super().__init__(*args, **kwargs)
        self._path = path
        self._lazy = lazy
        self._found: dict[str, EntryPoint] | None = None

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's interface
        """Names, in the order in which help shows them."""
        plugins = self._plugins()
        own = [n for n, c in self._lazy.items() if isinstance(c, click.Group) or c.target or n in plugins]
        return own + sorted(name for name in plugins if name not in own)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """Load a command. Raises CommandUnavailableError if its packages are missing."""
        entry = self._lazy.get(cmd_name)
        if isinstance(entry, click.Group):
            return entry
        if entry is not None and entry.target:
            module, _, attribute = entry.target.partition(":")
            command: object = getattr(importlib.import_module(module), attribute)
        else:
            command = self._load_plugin(cmd_name, entry)
        if command is None:
            return None
        if not isinstance(command, click.Command):
            raise CommandUnavailableError(f"{self._path}{cmd_name} is no command", hint="its package has a fault")
        return _with_json(command)

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command. Raises CommandUnavailableError if it finds out only then that its packages are missing."""
        try:
            return super().invoke(ctx)
        except ModuleNotFoundError as error:
            entry = self._lazy.get(ctx.invoked_subcommand or "")
            ours = (error.name or "").startswith("facegate")  # that one would be a bug
            if ours or isinstance(entry, click.Group) or (entry is not None and entry.target):
                raise
            raise self._unavailable(ctx.invoked_subcommand or "", entry, error) from error

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands with their static help: nothing is loaded for it."""
        rows = [(name, self._help(name)) for name in self.list_commands(ctx)]
        if rows:
            with formatter.section("Commands"):
                formatter.write_dl(rows)

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Complete command names without loading them."""
        from click.shell_completion import CompletionItem  # noqa: PLC0415 - for shells only

        names = [name for name in self.list_commands(ctx) if name.startswith(incomplete)]
        items = [CompletionItem(name, help=self._help(name)) for name in names]
        return items + click.Command.shell_complete(self, ctx, incomplete)

    def _help(self, name: str) -> str:
        entry = self._lazy.get(name)
        if entry is not None:
            return (entry.short_help or entry.help or "") if isinstance(entry, click.Group) else entry.help
        distribution = self._plugins()[name].dist
        return f"From the package {distribution.name}." if distribution else "From another package."

    def _plugins(self) -> dict[str, EntryPoint]:
        """Commands of other packages in this group; those further down belong to its groups."""
        if self._found is None:
            from importlib.metadata import entry_points  # noqa: PLC0415 - 10 ms that most commands do not need

            self._found = {}
            for entry in entry_points(group=ENTRY_POINTS):
                prefix, name = entry.name[: len(self._path)], entry.name[len(self._path) :]
                if prefix == self._path and name and "." not in name:
                    self._found.setdefault(name, entry)
        return self._found

    def _load_plugin(self, name: str, known: Lazy | None) -> object:
        entry = self._plugins().get(name)
        if entry is None and known is None:
            return None
        if entry is None:
            raise self._unavailable(name, known)
        try:
            return entry.load()
        except ImportError as error:
            raise self._unavailable(name, known, error) from error

    @staticmethod
    def _unavailable(name: str, known: Lazy | None, error: ImportError | None = None) -> CommandUnavailableError:
        """What is missing for a command of another package, and how to get it."""
        hint = "install what the command's package asks for"
        if known is not None and known.extra:
            hint = f"run: pip install 'facegate[{known.extra}]'"
        if error is None:
            return CommandUnavailableError(f"`{name}` is not installed here", hint=hint)
        missing = f" (missing: {error.name})" if error.name else ""
        return CommandUnavailableError(f"`{name}` cannot be used here{missing}", hint=hint)


def _with_json(command: click.Command) -> click.Command:
    """Give a leaf command the option `--json`, whoever wrote it."""
    if isinstance(command, click.Group) or any("--json" in parameter.opts for parameter in command.params):
        return command

    def switch(ctx: click.Context, _: click.Parameter, value: bool) -> None:
        if value and ctx.obj is not None:
            ctx.obj.json = True

    option = click.Option(
        ["--json"], is_flag=True, expose_value=False, is_eager=True, callback=switch, help="Print one JSON object."
    )
    command.params.append(option)
    return command
