"""`load_graph`: from ONNX bytes to a canonical graph."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from facegate_convert._graph._values import Graph


def load_graph(source: Path | bytes, *, input_size: tuple[int, int] | None = None) -> Graph:
    """Read an ONNX model and bring it to canonical form.

    Static shapes (a dynamic batch becomes 1), constants folded, shape computations resolved, BatchNormalization folded
    into the convolution or Gemm before it where that is exact, Identity, Dropout and dead nodes removed.

    Args:
        source: path of an ONNX file, or its bytes (then weights may not be stored in other files).
        input_size: (width, height) in pixels for models whose image input leaves them open. A model of fixed size
            accepts only its own.

    Returns:
        The canonical graph.

    Raises:
        ConvertError: one of its subclasses in `facegate_convert.errors`, by what is wrong.
    """
    raise NotImplementedError
