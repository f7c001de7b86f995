"""LiteRT's Python interpreter, for what the device's engine does not show: inner tensors, the delegate's partitions."""

from __future__ import annotations

import contextlib
import os
import sys
import warnings
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator


def make_interpreter(model: bytes, *, inner_tensors: bool = False) -> Any:
    """An `ai_edge_litert` interpreter with its tensors allocated, made without a word on stderr.

    Raises:
        RuntimeError, ValueError: it refuses the model.
    """
    from ai_edge_litert import interpreter  # noqa: PLC0415 - heavy: only where it is used

    with quiet():
        made = interpreter.Interpreter(
            model_content=model, num_threads=2, experimental_preserve_all_tensors=inner_tensors
        )
        made.allocate_tensors()
    return made


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Nothing on stderr, not from C++ either: LiteRT greets, the quantizer draws bars and warns, past every setting."""
    sys.stderr.flush()
    saved = os.dup(2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        sys.stderr.flush()
        os.dup2(saved, 2)
        os.close(saved)
        os.close(nowhere)
