"""What a command gets to speak through, so that every room's commands answer alike.

The `facegate` command line puts an object of this kind into click's `ctx.obj`. A command of another room takes it with
`@click.pass_obj` and never prints by itself:

    @click.command(short_help="Convert an ONNX model.")
    @click.argument("model")
    @click.pass_obj
    def convert(output: Output, model: str) -> None:
        output.progress("lowering")
        ...
        output.emit({"file": str(path), "size": size}, f"wrote {path}")

The option `--json` is added to every leaf command by the group that loads it; a command neither declares nor reads it.
A command fails by raising a FacegateError; the command line prints it (as text on stderr, or with `--json` as
`{"error": {...}}` on stdout) and exits with its `exit_code`. A negative answer is `click.get_current_context().exit(1)`
after `emit`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


class Output(Protocol):
    """Where a command's result and its progress go."""

    def emit(self, data: Mapping[str, object], text: str | Callable[[], str] = "") -> None:
        """Give the command's result; call it once.

        Args:
            data: what `--json` prints, one JSON object on one line of stdout: strings, numbers, booleans, None, lists
                and mappings of them.
            text: what is printed for people on stdout otherwise; a callable is called only then.
        """

    def progress(self, message: str) -> None:
        """Say on stderr what is being done; silent with `--json`."""
