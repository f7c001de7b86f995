"""What the pipeline asks of an inference engine. Two implementations: `_litert` and `_tflite`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType

    import numpy as np
    import numpy.typing as npt

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

    def __enter__(self) -> Engine: ...
    def __exit__(self, t: type[BaseException] | None, v: BaseException | None, tb: TracebackType | None) -> None: ...


class EngineFactory(Protocol):
    """Makes engines from model bytes that were verified before."""

    def __call__(self, model: Any, *, threads: int = 1) -> Engine:
        """Compile `model` (a buffer that outlives the engine: it may be run in place). Raises EngineError."""
