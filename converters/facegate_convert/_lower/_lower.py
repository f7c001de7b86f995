"""`lower`: from a canonical graph to a TFLite model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping

    from facegate_convert._graph import Graph
    from facegate_convert._lower._model import LoweredModel


def lower(
    graph: Graph,
    *,
    output_names: Mapping[str, str] | None = None,
    prelu: Literal["keep", "rewrite"] = "keep",
) -> LoweredModel:
    """Lower a canonical graph to a float32 TFLite model in NHWC.

    Args:
        graph: from `load_graph`.
        output_names: signature names of outputs by their ONNX names; those not named keep their ONNX name with every
            character but letters, digits and "_" replaced by "_".
        prelu: "keep" writes PRELU and LEAKY_RELU, fast in float; "rewrite" writes both as multiplications, additions
            and RELU, which the quantizer and XNNPACK take at int8 (PRELU they do not).

    Returns:
        The model. A single input is called "input".

    Raises:
        UnsupportedOperatorError: an operation has no exact form in TFLite.
        ConvertError: an output name is unknown or used twice.
    """
    raise NotImplementedError
