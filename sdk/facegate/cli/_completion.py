"""`facegate completion`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click
from click.shell_completion import get_completion_class

if TYPE_CHECKING:
    from facegate_edge._output import Output


@click.command(short_help="Print a shell's completion script.")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_obj
def completion(output: Output, shell: str) -> None:
    """Print the completion script of a shell, e.g. for ~/.bashrc: eval "$(facegate completion bash)"."""
    root = click.get_current_context().find_root().command
    found = get_completion_class(shell)
    if found is None:  # the choices above are those that click has
        raise click.UsageError(f"no completion for {shell}")
    script = found(root, {}, "facegate", "_FACEGATE_COMPLETE").source()
    output.emit({"shell": shell, "script": script}, script)
