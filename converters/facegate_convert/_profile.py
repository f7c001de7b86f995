"""Where a model's time goes, by kind of operator, as LiteRT's own profiler sees it.

XNNPACK runs a whole network as one operator of TFLite, so that times of TFLite's operators say nothing; LiteRT's C API
has a profiler that looks inside. It is no documented interface: these are the declarations of LiteRT 2.3, the version
that the build host pins, and with any other version there is no profile.
"""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING, Any

from facegate_convert.errors import MeasureError
from facegate_edge._litert import LiteRtEngine, find_library
from facegate_edge.errors import EngineError

if TYPE_CHECKING:
    from contextlib import ExitStack

_VERSION = "2.3."
_CDEF = """
typedef struct {
    const char* tag;
    int type;
    uint64_t start_us;
    uint64_t elapsed_us;
    uint64_t memory[6];
    uint64_t metadata[2];
    int source;
} Event;
int LiteRtCreateOpaqueOptions(const char*, void*, void (*)(void*), void**);
int LiteRtAddOpaqueOptions(void*, void*);
int LiteRtCompiledModelGetProfiler(void*, void**);
int LiteRtStartProfiler(void*);
int LiteRtStopProfiler(void*);
int LiteRtGetNumProfilerEvents(void*, int*);
int LiteRtGetProfilerEvents(void*, int, Event*);
void* malloc(size_t);
void free(void*);
"""
# tflite::Profiler::EventType
_OPERATOR = 2
_INSIDE_DELEGATE = 8
_DELEGATE = "XNNPack"
_OPTION = b"enable_profiling = true\n\0"
_RUNS = 20
_WORDS = re.compile(r"\s*\([^)]*\)")


class _ProfiledEngine(LiteRtEngine):
    """An engine that is compiled with profiling."""

    def _set_xnnpack(self, options: Any, threads: int, *, float16: bool) -> None:
        super()._set_xnnpack(options, threads, float16=float16)
        self._ffi, self._more, self._libc = _library()
        payload = self._libc.malloc(len(_OPTION))
        self._ffi.memmove(payload, _OPTION, len(_OPTION))
        handle = self._ffi.new("void**")
        free = self._ffi.addressof(self._libc, "free")
        _check(self._more.LiteRtCreateOpaqueOptions(b"runtime_options_string", payload, free, handle))
        _check(self._more.LiteRtAddOpaqueOptions(self._pointer(options), handle[0]))

    def _allocate(self, stack: ExitStack, compiled: Any) -> None:
        super()._allocate(stack, compiled)
        handle = self._ffi.new("void**")
        _check(self._more.LiteRtCompiledModelGetProfiler(self._pointer(compiled), handle))
        self._profiler = handle[0]

    def _pointer(self, handle: Any) -> Any:
        """A handle of the runtime's own declarations as one of ours."""
        return self._ffi.cast("void*", int(self._rt.ffi.cast("uintptr_t", handle)))

    def profile(self, runs: int) -> dict[str, tuple[int, float]]:
        """(operators, milliseconds in one run) by kind of operator."""
        _check(self._more.LiteRtStartProfiler(self._profiler))
        for _ in range(runs):
            self.run()
        _check(self._more.LiteRtStopProfiler(self._profiler))
        count = self._ffi.new("int*")
        _check(self._more.LiteRtGetNumProfilerEvents(self._profiler, count))
        events = self._ffi.new("Event[]", count[0])
        _check(self._more.LiteRtGetProfilerEvents(self._profiler, count[0], events))
        calls: Counter[str] = Counter()
        time: Counter[str] = Counter()
        for event in events:
            tag = self._ffi.string(event.tag).decode("ascii", "replace") if event.tag else ""
            if event.type == _INSIDE_DELEGATE or (event.type == _OPERATOR and _DELEGATE not in tag):
                kind = _WORDS.sub("", tag) or "unnamed"
                calls[kind] += 1
                time[kind] += event.elapsed_us
        return {kind: (round(calls[kind] / runs), time[kind] / runs / 1000) for kind in calls}


def by_operator(float32: bytes, model: bytes) -> list[dict[str, Any]]:
    """Where the time of a model and of its float32 form goes, the most first.

    Args:
        float32: the float32 model.
        model: the converted one; may be the same.

    Returns:
        [{"operator", "count", "ms", "float32_ms"}]: kinds of kernels, how many of them the model has (0 if only its
        float32 form), milliseconds in one run of each, None where it has no such kernel. One thread, this machine.

    Raises:
        MeasureError: there is no profiler here.
    """
    path, version = find_library()
    if not version.startswith(_VERSION):
        raise MeasureError(f"{path.name} {version} has a profiler that is not known", hint="use LiteRT 2.3")
    base, own = _profiled(float32), _profiled(model)
    rows = [
        {
            "operator": kind,
            "count": own.get(kind, (0, 0.0))[0],
            "ms": round(own[kind][1], 4) if kind in own else None,
            "float32_ms": round(base[kind][1], 4) if kind in base else None,
        }
        for kind in sorted(own.keys() | base.keys())
    ]
    return sorted(rows, key=lambda row: -(row["ms"] or 0.0))


def _profiled(model: bytes) -> dict[str, tuple[int, float]]:
    try:
        with _ProfiledEngine(model, threads=1) as engine:
            return engine.profile(_RUNS)
    except EngineError as error:
        raise MeasureError("LiteRT's profiler cannot be used here") from error


def _library() -> tuple[Any, Any, Any]:
    """Our declarations of the functions that the runtime does not need: (ffi, LiteRT, libc)."""
    import os  # noqa: PLC0415

    from cffi import FFI  # type: ignore[import-untyped]  # noqa: PLC0415

    ffi = FFI()
    ffi.cdef(_CDEF)
    path, _ = find_library()
    return ffi, ffi.dlopen(str(path), os.RTLD_NOW | os.RTLD_LOCAL | os.RTLD_NODELETE), ffi.dlopen(None)


def _check(status: int) -> None:
    if status:
        raise MeasureError(f"LiteRT's profiler failed (status {status})")
