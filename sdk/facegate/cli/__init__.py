"""The command line. `main` is the console script; commands are loaded when they are run, not before."""

from __future__ import annotations

import errno
import os
import sys
from typing import TYPE_CHECKING, TextIO

import click

from facegate.cli._commands import root
from facegate.cli._output import Output
from facegate_edge.errors import FacegateError

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["main"]

USAGE, ENVIRONMENT, BUG, INTERRUPTED, BROKEN_PIPE = 2, 5, 70, 130, 141
NO_SPACE = {errno.ENOSPC, errno.EDQUOT}


def main(args: Sequence[str] | None = None) -> int:  # noqa: PLR0911 - one way out for each exit code
    """Run the command line.

    Args:
        args: the arguments without the program's name; those of the process if None.

    Returns:
        The exit code, as `facegate --help` lists them.
    """
    arguments = list(sys.argv[1:] if args is None else args)
    # A command that cannot be parsed has not told the output about --json yet, but its caller reads JSON all the same.
    output = Output(json="--json" in arguments)
    stdout = sys.stdout
    try:
        result = root.main(args=arguments, prog_name="facegate", standalone_mode=False, obj=output)
    except FacegateError as error:
        return output.error(type(error).__name__, str(error), error.hint, error.exit_code)
    except click.ClickException as error:
        hint = f"see `{error.ctx.command_path} --help`" if isinstance(error, click.UsageError) and error.ctx else ""
        return output.error("UsageError", error.format_message(), hint, USAGE)
    except (click.Abort, EOFError) as error:
        # What click makes of both Ctrl-C and the end of input differs between its versions.
        cause = error if isinstance(error, EOFError) else error.__cause__ or error.__context__
        if isinstance(cause, FacegateError):  # one of ours that is an EOFError, too: a file that ends too early
            return output.error(type(cause).__name__, str(cause), cause.hint, cause.exit_code)
        if isinstance(cause, EOFError):
            return output.error("UsageError", "the input ended at a prompt", "", USAGE)
        return INTERRUPTED
    except KeyboardInterrupt:
        return INTERRUPTED
    except SystemExit as error:
        # click leaves so, with another stdout in place, when the reader of the output has gone.
        return int(error.code or 0) if sys.stdout is stdout else _broken_pipe(stdout)
    except Exception as error:  # noqa: BLE001 - the last resort: no traceback, which may hold paths and values
        return _unexpected(output, error)
    return result if isinstance(result, int) else 0


def _unexpected(output: Output, error: Exception) -> int:
    """Tell of what nobody foresaw: a machine without room, or a bug."""
    if isinstance(error, MemoryError):
        return output.error("OutOfMemoryError", "there is not enough memory", "use smaller images", ENVIRONMENT)
    if isinstance(error, OSError) and error.errno in NO_SPACE:
        return output.error("OutputError", f"the output cannot be written: {error.strerror}", "make room", ENVIRONMENT)
    if os.environ.get("FACEGATE_TRACEBACK") == "1":
        import traceback  # noqa: PLC0415 - for bugs only

        traceback.print_exception(error)
    hint = "please report it; FACEGATE_TRACEBACK=1 shows where it happened"
    return output.error("InternalError", f"a bug in facegate ({type(error).__name__})", hint, BUG)


def _broken_pipe(stdout: TextIO) -> int:
    """Whoever read the output has gone: say nothing, and keep Python from saying it at exit."""
    sys.stdout = stdout
    os.dup2(os.open(os.devnull, os.O_WRONLY), stdout.fileno())
    return BROKEN_PIPE
