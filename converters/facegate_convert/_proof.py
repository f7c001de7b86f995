"""Every model is loaded and run in a process of its own before this one does it.

LiteRT and XNNPACK end the process on some models that they do not take, by an abort or by memory that they damaged: no
exception, nothing that could be caught, and nothing said. A conversion that takes a minute must not end so. One
process tries all models of a run, one after the other, and is started again when a model ended it.
"""

from __future__ import annotations

import atexit
import contextlib
import hashlib
import os
import select
import signal
import subprocess
import sys
import threading
from typing import TYPE_CHECKING

from facegate_convert._evaluate._frames import LENGTH, read_frame
from facegate_convert.errors import UnrunnableModelError

if TYPE_CHECKING:
    from typing import IO

__all__ = ["begin", "prove"]

SECONDS = 180.0  # that a model may take: a large network on a slow machine takes two
_HINT = "use --precision float16 or float32, or another --target, and report the model's origin to the project"
# Not `python -m`: that looks for modules in the current folder first.
_BEGIN = "import sys; sys.path[:] = sys.argv[1:]; from facegate_convert._proof import main; main()"


def begin() -> None:
    """Start the process that tries models, if none runs: it is ready when the first model is."""
    with _lock, contextlib.suppress(OSError):
        _running()


def prove(model: bytes, *, run: bool = True) -> bytes:
    """Try a model in the other process, once.

    Where no process can be started, models are not tried.

    Args:
        model: the flatbuffer.
        run: also run it, on an input of zeros, as every device does when it loads a model.

    Returns:
        The same.

    Raises:
        UnrunnableModelError: LiteRT refuses it, or does not survive it.
    """
    digest = hashlib.sha256(model).digest() + bytes([run])
    with _lock:
        if digest not in _known:
            try:
                process = _running()
            except OSError:
                return model
            _known[digest] = _tried(process, model, run=run)
        wrong = _known[digest]
    if wrong:
        raise UnrunnableModelError(wrong, hint=_HINT)
    return model


def _tried(process: _Process, model: bytes, *, run: bool) -> str:
    """What is wrong with a model, empty if nothing."""
    try:
        refused = process.ask(model, run=run)
    except EOFError:
        return f"LiteRT did not survive the model: its process ended {_how(process.end(dying=True))}"
    except TimeoutError:
        process.end()
        return f"the model was not through after {SECONDS:.0f} seconds"
    except BaseException:  # an answer that nobody waited for must not be taken for the next model's
        process.end()
        raise
    return f"LiteRT does not run the model: {refused}" if refused else ""


def _how(status: int) -> str:
    try:
        return f"by {signal.Signals(-status).name}"
    except ValueError:
        return f"with status {status}"


class _Process:
    """The process that tries models, and the pipes to it."""

    def __init__(self) -> None:
        self.owner = os.getpid()
        self._process = subprocess.Popen(  # noqa: S603 - this very Python, and a text of ours
            [sys.executable, "-c", _BEGIN, *filter(None, sys.path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
            bufsize=0,
        )

    @property
    def alive(self) -> bool:
        """Whether it runs, and is this process's own and not one that was there before a fork."""
        return self.owner == os.getpid() and self._process.poll() is None

    def ask(self, model: bytes, *, run: bool) -> str:
        """What is wrong with the model, empty if nothing is. Raises EOFError if it died of it, TimeoutError."""
        assert self._process.stdin is not None  # noqa: S101 - both are pipes
        assert self._process.stdout is not None  # noqa: S101
        try:
            _write(self._process.stdin, bytes([run]) + model)
        except BrokenPipeError as error:
            raise EOFError from error
        ready, _, _ = select.select([self._process.stdout], [], [], SECONDS)
        if not ready:
            raise TimeoutError
        answer = read_frame(self._process.stdout)
        if answer is None:
            raise EOFError
        return answer.decode()

    def end(self, *, dying: bool = False) -> int:
        """End it, let go of the pipes, and tell how it ended: if it is dying already, of what."""
        if dying:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(5)
        self._process.kill()
        status = self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()
        return status


_lock = threading.Lock()
_known: dict[bytes, str] = {}  # what was wrong with a model, by its digest: a search asks several times
_current: list[_Process] = []


def _running() -> _Process:
    if not _current:
        atexit.register(_stop)
    if not (_current and _current[-1].alive):
        _current[:] = [_Process()]
    return _current[-1]


def _stop() -> None:
    for process in _current:
        if process.alive:
            process.end()


def _write(stream: IO[bytes], data: bytes) -> None:
    view = memoryview(LENGTH.pack(len(data)) + data)
    while view:
        view = view[stream.write(view) :]


def main() -> None:
    """Try models from the standard input until it ends, and say of each what is wrong with it, or nothing."""
    import resource  # noqa: PLC0415 - not on every system, and only this process dies on purpose

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the command decides
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a model is nobody else's business
    given, answers = sys.stdin.buffer, os.fdopen(os.dup(1), "wb", buffering=0)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)
    _load()  # while nobody waits
    while job := read_frame(given):
        signal.alarm(int(SECONDS) + 10)  # nobody may be left who ends it
        refused = _try(job[1:], run=bool(job[0]))
        signal.alarm(0)
        _write(answers, refused.encode())


def _load() -> None:
    from facegate_edge._litert_library import load  # noqa: PLC0415

    with contextlib.suppress(Exception):  # what is missing is told of with the first model
        import ai_edge_litert.interpreter  # noqa: F401, PLC0415

        load()


def _try(model: bytes, *, run: bool) -> str:
    """Load a model, and run it in all ways in which a conversion does; what went wrong in one line."""
    try:
        from facegate_convert._interpreter import make_interpreter  # noqa: PLC0415
        from facegate_edge import make_engine  # noqa: PLC0415

        runner = make_interpreter(model)
        if run:
            runner.invoke()
            make_interpreter(model, inner_tensors=True).invoke()
            with make_engine(model):
                pass
    except Exception as error:  # noqa: BLE001 - whatever it is, it is told of
        return (str(error).strip() or type(error).__name__).splitlines()[0][:300]
    return ""
