"""`python -m facegate_terminal`: the service, and what helps whoever looks after it."""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import json
import logging
import os
import resource
import signal
import sys
import threading
import traceback
from pathlib import Path
from typing import TYPE_CHECKING

from facegate import __version__
from facegate.errors import FacegateError
from facegate_terminal._config import load_config

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["main"]

_PR_SET_DUMPABLE = 4  # of linux/prctl.h
_DEFAULT = "/etc/facegate/terminal.toml"
_EPILOG = "Exit codes: 0 done, 1 the answer is no, 2 usage, 3 configuration, 4 not trusted, 5 environment, 70 a bug."


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line. Returns the exit code."""
    parser = _parser()
    given = parser.parse_args(arguments)
    if (given.fast or given.script) and not given.simulated:
        parser.error("--fast and --script go with --simulated")
    if given.json and not given.status:
        parser.error("--json goes with --status")
    _log_to_stderr()
    try:
        return _do(given)
    except FacegateError as error:
        hint = f"\n  {error.hint}" if error.hint else ""
        print(f"facegate_terminal: {error}{hint}", file=sys.stderr)
        return error.exit_code
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return 141
    except KeyboardInterrupt:
        return 130
    except Exception as error:  # noqa: BLE001 - a bug: told where it is, and not what it held, which may be a name
        frames = traceback.extract_tb(error.__traceback__)
        where = " < ".join(f"{Path(f.filename).name}:{f.lineno}" for f in reversed(frames[-6:]))
        print(f"facegate_terminal: this is a bug: {type(error).__name__} at {where}", file=sys.stderr)
        return 70


def _do(given: argparse.Namespace) -> int:
    if given.simulated:
        return _simulate(given.script, fast=given.fast)
    if given.status:
        return _status(given.config, as_json=given.json)
    does = _check if given.check else _release if given.release else _serve
    return does(given.config)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m facegate_terminal",
        description="An access terminal: a camera, a gate, and a door that opens for a verified match only.",
        epilog=_EPILOG,
    )
    parser.add_argument("--config", type=Path, default=Path(_DEFAULT), metavar="FILE", help=f"[default: {_DEFAULT}]")
    parser.add_argument("--version", action="version", version=f"facegate {__version__}")
    does = parser.add_mutually_exclusive_group()
    does.add_argument("--check", action="store_true", help="Check the configuration; nothing is opened.")
    does.add_argument("--status", action="store_true", help="How the running terminal is. Exit 1: something is wrong.")
    does.add_argument("--release", action="store_true", help="Drive the door's line to inactive, and end.")
    does.add_argument("--simulated", action="store_true", help="Show it with rendered people, and a file for a door.")
    parser.add_argument("--json", action="store_true", help="With --status: as JSON.")
    parser.add_argument("--fast", action="store_true", help="With --simulated: not in real time.")
    parser.add_argument("--script", type=Path, metavar="FILE", help="With --simulated: what happens (JSON).")
    return parser


def _log_to_stderr() -> None:
    """One line each, for the journal: it knows the time. Nothing that is logged holds a name, a score or a picture."""
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(levelname)s: %(message)s"))
    logger = logging.getLogger("facegate_terminal")
    logger.handlers[:] = [handler]
    logger.setLevel(logging.INFO)
    logger.propagate = False


def _stop_on_signals() -> threading.Event:
    """An event that SIGTERM, SIGINT and SIGHUP set: the loop ends by itself, and the door is released."""
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda *_: stop.set())
    return stop


def _refuse_core_dumps() -> None:
    """Templates and keys are in this process: the kernel writes none of it down, and gives none to another program."""
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
    # A limit does not keep a dump from a program that takes dumps through a pipe, as most systems have one.
    with contextlib.suppress(AttributeError, OSError):
        ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)


def _serve(path: Path) -> int:
    config = load_config(path)
    _refuse_core_dumps()
    from facegate_terminal._serve import serve  # noqa: PLC0415 - a wrong configuration is told at once

    serve(config, _stop_on_signals())
    return 0


def _simulate(path: Path | None, *, fast: bool) -> int:
    from facegate.errors import ScriptError  # noqa: PLC0415
    from facegate.simulation import Script  # noqa: PLC0415 - the renderer is not the service's
    from facegate_terminal._simulated import demo_script, simulate  # noqa: PLC0415

    logging.getLogger("facegate_terminal").setLevel(logging.WARNING)  # what happens is printed, with its names
    script = demo_script()
    if path is not None:
        try:
            script = Script.from_json(path.read_bytes())
        except OSError as error:
            raise ScriptError(f"{path} cannot be read: {error.strerror}") from None
    day = simulate(script, fast=fast, say=lambda line: print(line, flush=True), stop=_stop_on_signals())
    return 1 if day.wrong() else 0


def _status(path: Path, *, as_json: bool) -> int:
    from facegate_terminal._status import describe, read_status  # noqa: PLC0415

    status = read_status(load_config(path).status.file)
    if status is None:
        if as_json:
            print(json.dumps({"state": "not_running"}))
        else:
            print("not running: journalctl -u facegate-terminal says why", file=sys.stderr)
        return 5
    print(json.dumps(status) if as_json else describe(status))
    return 1 if status["trouble"] else 0


def _check(path: Path) -> int:
    config = load_config(path)
    print(f"{path}: valid; camera {config.camera.source}, door {config.door.line}, light {config.light.line}")
    return 0


def _release(path: Path) -> int:
    config = load_config(path)
    from facegate_terminal._serve import release  # noqa: PLC0415

    release(config)
    return 0
