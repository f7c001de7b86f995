"""What the pipeline asks of an inference engine. Two implementations: `_litert` and `_tflite`."""

from __future__ import annotations

import functools
import os
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from facegate_edge.errors import EngineUnavailableError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType

    import numpy as np
    import numpy.typing as npt
    from typing_extensions import Self

    from facegate_edge._manifest import TensorInfo


class Engine(Protocol):
    """One compiled model with fixed buffers: write `inputs`, call `run()`, read `outputs`.

    The arrays are the engine's own memory (64-byte aligned, C-contiguous): they are the same objects for the life of
    the engine and are overwritten by every `run()`. Not thread safe; make one engine a thread.
    """

    name: str
    input_infos: tuple[TensorInfo, ...]
    output_infos: tuple[TensorInfo, ...]

    @property
    def inputs(self) -> Mapping[str, npt.NDArray[np.generic]]:
        """Input arrays by signature name."""

    @property
    def outputs(self) -> Mapping[str, npt.NDArray[np.generic]]:
        """Output arrays by signature name."""

    def run(self) -> None:
        """Run the model once. Allocates nothing; releases the GIL. Raises EngineError."""

    def close(self) -> None:
        """Free the engine; a second call does nothing."""

    def __enter__(self) -> Self: ...
    def __exit__(self, t: type[BaseException] | None, v: BaseException | None, tb: TracebackType | None) -> None: ...


class EngineFactory(Protocol):
    """Makes engines from model bytes that were verified before."""

    def __call__(self, model: Any, *, threads: int = 1, float16: bool = False) -> Engine:
        """Compile `model` (a buffer that outlives the engine: it may be run in place). Raises EngineError.

        `float16` asks for float16 arithmetic; an engine that cannot be asked calculates in float32.
        """


ENGINES = ("litert", "tflite")
ENVIRONMENT_VARIABLE = "FACEGATE_ENGINE"


class EngineChoice(NamedTuple):
    """An engine that loads on this machine.

    Attributes:
        name: "litert" or "tflite".
        why: why this one, in a few words, for `facegate doctor`.
        factory: makes engines of it.
    """

    name: str
    why: str
    factory: EngineFactory


def choose_engine(engine: str | None = None) -> EngineChoice:
    """Choose the engine of this machine: LiteRT where it loads, else tflite-runtime.

    Args:
        engine: "litert" or "tflite" to have that one or none; if None, the environment variable FACEGATE_ENGINE may
            name it.

    Raises:
        EngineUnavailableError: the engine that was asked for, or every engine, cannot be loaded; the message says why.
    """
    if engine is not None:
        return _choose(engine, "asked for")
    forced = os.environ.get(ENVIRONMENT_VARIABLE)
    if forced:
        return _choose(forced, f"asked for by {ENVIRONMENT_VARIABLE}")
    try:
        return _choose("litert", "the faster one, and it loads here")
    except EngineUnavailableError as e:
        litert = e
    try:
        return _choose("tflite", f"the only one that loads here ({litert})")
    except EngineUnavailableError as e:
        raise EngineUnavailableError(
            f"no inference engine can be used: {litert}; {e}", hint=f"{litert.hint}. Or: {e.hint}"
        ) from None


@functools.lru_cache(maxsize=8)
def _choose(name: str, why: str) -> EngineChoice:
    if name == "litert":
        from facegate_edge import _litert  # noqa: PLC0415 - only the engine that is used is loaded

        _litert.load()
        return EngineChoice(name, why, _litert.LiteRtEngine)
    if name == "tflite":
        from facegate_edge import _tflite  # noqa: PLC0415 - only the engine that is used is loaded

        _tflite.load()
        return EngineChoice(name, why, _tflite.TfliteEngine)
    raise EngineUnavailableError(f"there is no engine {name!r}", hint=f"the engines are {' and '.join(ENGINES)}")


def make_engine(model: Any, *, threads: int = 1, engine: str | None = None, float16: bool = False) -> Engine:
    """Compile a model with the engine of this machine (see `choose_engine`).

    Args:
        model: the TFLite flatbuffer, any buffer, verified before; it must not change while the engine lives.
        threads: number of CPU threads, at least 1.
        engine: "litert", "tflite" or None to choose.
        float16: ask for float16 arithmetic, which only pays where the processor has it (`MachineFacts.features`).

    Raises:
        EngineUnavailableError: no engine can be used.
        EngineError: the engine refuses the model.
    """
    return choose_engine(engine).factory(model, threads=threads, float16=float16)
