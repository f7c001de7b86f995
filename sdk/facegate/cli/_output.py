"""How commands answer: text for people, or one JSON object. See `facegate_edge._output` for the protocol."""

from __future__ import annotations

import contextlib
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import TextIO

__all__ = ["Output"]

# Names of files, people's columns and servers' answers are shown: what would move the cursor, set a title or turn the
# direction of text is shown as what it is. JSON escapes it anyway.
_CONTROLS = {
    code: f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"  # noqa: PLR2004 - what two digits can say
    for code in (*range(0x20), *range(0x7F, 0xA0), 0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2066, 0x206A))
    if chr(code) not in "\n\t"
}


class Output:
    """Results on stdout, progress and errors on stderr; with `json`, one JSON object on stdout and nothing else."""

    def __init__(self, *, json: bool = False) -> None:
        self.json = json

    def emit(self, data: Mapping[str, object], text: str | Callable[[], str] = "") -> None:
        """Give the command's result: `data` as one line of JSON, or `text`."""
        if self.json:
            import json  # noqa: PLC0415 - text needs none of it

            shown = json.dumps(data, ensure_ascii=True, allow_nan=False)
        else:
            shown = text if isinstance(text, str) else text()
        if shown:
            _write(sys.stdout, shown.rstrip("\n") + "\n")
            if sys.stdout is not None:
                sys.stdout.flush()  # here, where a reader that went away is noticed by main, not at exit

    def progress(self, message: str) -> None:
        """Say on stderr what is being done; silent with JSON."""
        if not self.json:
            with contextlib.suppress(OSError):
                _write(sys.stderr, message + "\n")

    def error(self, kind: str, message: str, hint: str, exit_code: int) -> int:
        """Tell of a failure: on stderr, or as `{"error": {...}}` on stdout. Returns `exit_code`."""
        with contextlib.suppress(OSError):
            if self.json:
                data = {"type": kind, "message": message, "hint": hint, "exit_code": exit_code}
                self.emit({"error": data})
            else:
                _write(sys.stderr, f"error: {message}\n" + (f"hint: {hint}\n" if hint else ""))
        return exit_code


def _write(stream: TextIO | None, text: str) -> None:
    """Write text that may hold names of files which the stream's encoding cannot say; nowhere if it was closed."""
    if stream is None:
        return
    text = text.translate(_CONTROLS)
    try:
        stream.write(text)
    except UnicodeEncodeError as error:
        stream.write(text.encode(error.encoding, "backslashreplace").decode(error.encoding))
