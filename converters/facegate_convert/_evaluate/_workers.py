"""Templates of many photographs, made by several processes at once.

Each process is a fresh interpreter that is told everything through a pipe: nothing of a half-initialised engine is
inherited, the caller's main module is not run again, and an image that brings a process down costs that process only.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import subprocess
import sys
import threading
from typing import TYPE_CHECKING, Any

from facegate_convert import errors
from facegate_convert._evaluate._cache import STATUSES, record_type
from facegate_convert._evaluate._frames import ERROR, LENGTH, READY, RESULT, read_frame
from facegate_edge import errors as edge_errors

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from facegate_convert._evaluate._cache import Cache, Records

_ATTEMPTS = 2  # at a photograph that a process died of
# Not `python -m`: that looks for modules in the current folder first, and people run this inside of datasets.
_BEGIN = "import sys; sys.path[:] = sys.argv[1:]; from facegate_convert._evaluate._worker import main; sys.exit(main())"
_FEW = 8  # photographs a process, at least: starting one takes as long as some tens of photographs


class _Process:
    """One worker and the pipe to it."""

    def __init__(self, config: Mapping[str, Any], models: Mapping[str, bytes]) -> None:
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
        loud = os.environ.get("FACEGATE_TRACEBACK") == "1"
        try:
            self._process = subprocess.Popen(  # noqa: S603 - this very Python, and a text of ours
                [sys.executable, "-c", _BEGIN, *filter(None, sys.path)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=None if loud else subprocess.DEVNULL,
                env=environment,
            )
        except OSError as error:
            raise errors.WorkerError(
                f"no process can be started: {error.strerror}", hint="free memory, or use fewer with --jobs"
            ) from error
        assert self._process.stdin is not None  # noqa: S101 - both are pipes
        assert self._process.stdout is not None  # noqa: S101
        self._in, self._out = self._process.stdin, self._process.stdout
        try:
            self._send(json.dumps({**config, "models": list(models)}).encode(), *models.values())
            kind, _ = self._receive()
        except (EOFError, BrokenPipeError):
            kind = b""
        except BaseException:
            self.close()
            raise
        if kind != READY:
            self.close()
            raise errors.WorkerError(
                "a process that makes templates ended before it began",
                hint="`facegate doctor` checks the engine; FACEGATE_TRACEBACK=1 shows what the process says",
            )

    def make(self, digest: str, path: Path) -> bytes:
        """What became of a photograph. Raises EOFError if the process died of it."""
        try:
            self._send(digest.encode() + os.fsencode(path.absolute()))
        except BrokenPipeError as error:
            raise EOFError from error
        return self._receive()[1]

    def _send(self, *frames: bytes) -> None:
        for data in frames:
            self._in.write(LENGTH.pack(len(data)))
            self._in.write(data)
        self._in.flush()

    def _receive(self) -> tuple[bytes, bytes]:
        kind = self._out.read(1)
        data = read_frame(self._out) if kind else None
        if data is None:
            raise EOFError
        if kind == ERROR:
            raise _error(json.loads(data))
        if kind not in (READY, RESULT):
            raise EOFError
        return kind, data

    def kill(self) -> None:
        """End the process, whatever it does. Any thread may."""
        self._process.kill()

    def close(self) -> None:
        """End the process and let go of the pipes to it. Only for the thread that speaks through them."""
        self._process.kill()
        self._process.wait()
        for pipe in (self._in, self._out):
            with contextlib.suppress(OSError):  # what could not be flushed is of no use any more
                pipe.close()


def _error(told: Mapping[str, str]) -> edge_errors.FacegateError:
    """A worker's error as its own type again."""
    kind = getattr(errors, told["type"], None) or getattr(edge_errors, told["type"], None)
    if not (isinstance(kind, type) and issubclass(kind, edge_errors.FacegateError)):
        kind = errors.WorkerError
    try:
        return kind(told["message"], hint=told["hint"])
    except TypeError:  # an error that is made of more than a message
        return errors.WorkerError(told["message"], hint=told["hint"])


class _Crew:
    """Threads that each feed one process from a queue and put what comes back into another."""

    def __init__(
        self, config: Mapping[str, Any], models: Mapping[str, bytes], jobs: Sequence[tuple[str, Path]]
    ) -> None:
        self._config, self._models, self._jobs = config, models, jobs
        self._todo: queue.SimpleQueue[int] = queue.SimpleQueue()
        for number in range(len(jobs)):
            self._todo.put(number)
        self.done: queue.SimpleQueue[tuple[int, bytes | None] | BaseException] = queue.SimpleQueue()
        self._stop = threading.Event()
        self._processes: set[_Process] = set()
        self._lock = threading.Lock()
        self._threads: list[threading.Thread] = []

    def start(self, count: int) -> None:
        """Begin."""
        self._threads = [threading.Thread(target=self._run, daemon=True) for _ in range(count)]
        for thread in self._threads:
            thread.start()

    def _run(self) -> None:
        process: _Process | None = None
        try:
            while not self._stop.is_set():
                try:
                    number = self._todo.get_nowait()
                except queue.Empty:
                    break
                data = None
                for _ in range(_ATTEMPTS):
                    process = process or self._begin()
                    try:
                        data = process.make(*self._jobs[number])
                        break
                    except EOFError:
                        self._end(process)
                        process = None
                        if self._stop.is_set():
                            return
                self.done.put((number, data))
        except BaseException as error:  # noqa: BLE001 - it is raised again in the thread that waits
            self.done.put(error)
        finally:
            if process is not None:
                self._end(process)

    def _begin(self) -> _Process:
        process = _Process(self._config, self._models)
        with self._lock:
            self._processes.add(process)
        return process

    def _end(self, process: _Process) -> None:
        with self._lock:
            self._processes.discard(process)
        process.close()

    def stop(self) -> None:
        """End all processes now."""
        self._stop.set()
        with self._lock:
            running = list(self._processes)
        for process in running:
            process.kill()
        for thread in self._threads:
            thread.join(timeout=10)


def make_templates(
    paths: Sequence[Path],
    digests: Sequence[str],
    cache: Cache,
    *,
    config: Mapping[str, Any],
    models: Mapping[str, bytes],
    jobs: int | None = None,
    progress: Callable[[str, int, int], None] | None = None,
) -> Records:
    """The records of photographs: those that the cache has, and new ones for the others.

    Args:
        paths: of the photographs.
        digests: their sha256, hex.
        cache: keeps what is made, photograph by photograph.
        config: what the workers are told (see `_makers`).
        models: by role, verified bytes.
        jobs: processes; as many as this process may use processors if None.
        progress: is told (step, done, total).

    Raises:
        WorkerError: no process can be started.
        DatasetChangedError: a photograph is not the one that was fingerprinted.
        CacheError: there is no room to keep a template.
        FacegateError: what a hosted model's client or the engine raises.
    """
    found = cache.find(digests)
    missing = [i for i in range(len(paths)) if not found.present[i]]
    if not missing:
        return found
    wanted = jobs or len(os.sched_getaffinity(0))
    crew = _Crew(config, models, [(digests[i], paths[i]) for i in missing])
    crew.start(max(1, min(wanted, -(-len(missing) // _FEW))))
    head_size = record_type(0, "i1").itemsize
    try:
        for count in range(1, len(missing) + 1):
            result = crew.done.get()
            if isinstance(result, BaseException):
                raise result
            number, data = result
            if data is None:
                cache.append(_crashed(digests[missing[number]]), b"", keep=False)
            else:
                cache.append(data[:head_size], data[head_size:])
            if progress is not None:
                progress("making templates", len(paths) - len(missing) + count, len(paths))
    finally:
        crew.stop()
    return cache.find(digests)


def _crashed(digest: str) -> bytes:
    """The record of a photograph that processes died of: another run tries it again."""
    import numpy as np  # noqa: PLC0415 - not for the command line's help

    row = np.zeros((), record_type(0, "i1"))
    row["sha256"] = np.frombuffer(bytes.fromhex(digest), np.uint8)
    row["status"] = STATUSES.index("crashed")
    row["quality"], row["live"] = np.nan, np.nan
    return row.tobytes()
