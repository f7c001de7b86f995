"""Runs a command in this process, and keeps what it tells its caller."""

from __future__ import annotations

import json
from typing import Any

from click.testing import CliRunner


class Recorder:
    """An Output that keeps what it is given."""

    def __init__(self):
        self.data, self.text, self.steps, self.code = None, "", [], 0

    def emit(self, data, text=""):
        """Keep the result; it must be JSON."""
        assert self.data is None
        self.data = json.loads(json.dumps(data, allow_nan=False))
        self.text = text if isinstance(text, str) else text()

    def progress(self, message):
        """Keep the step."""
        self.steps.append(message)


def run(command: Any, *arguments: object) -> Recorder:
    """Run a command; gives its Recorder with the exit code, raises what it raises."""
    output = Recorder()
    result = CliRunner().invoke(command, [str(a) for a in arguments], obj=output, standalone_mode=False)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    # What `ctx.exit(1)` comes to depends on click's version: an exit code, or what the command returns.
    output.code = result.return_value if isinstance(result.return_value, int) else result.exit_code
    return output
