"""onnxruntime, as the converter uses it: on the processor, quiet, and telling nobody."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

    import onnx

__all__ = ["load", "session"]


def load() -> Any:
    """The module `onnxruntime`, its telemetry switched off.

    Since 1.31 its Linux wheels report each session to their maker, and keep an identifier of the machine in
    `~/.cache/Microsoft` and in the folder for temporary files; the variable must be set before the library is loaded.
    A build host holds models and photographs that are nobody else's business, and may be meant to be offline.
    """
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"
    import onnxruntime  # noqa: PLC0415 - the command line's help must not wait for it

    onnxruntime.disable_telemetry_events()  # for who imported it before
    return onnxruntime


def session(model: Path | bytes) -> Any:
    """An `InferenceSession` of an ONNX model. Raises whatever onnxruntime raises, a dozen classes of its own.

    onnxruntime runs every node, also those that no output needs and that the converter has never looked at: a file from
    somewhere could so keep it busy for good, or take all memory. They are left out.
    """
    onnxruntime = load()
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # fair to whatever else runs here
    source = model if isinstance(model, bytes) else str(model)
    needed, branches = _needed(model)
    if branches:  # constants of the branch that is not taken would be calculated, too
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    if needed is not None:
        source = needed
        if not isinstance(model, bytes):
            folder = str(model.resolve().parent)  # of weights in other files
            options.add_session_config_entry("session.model_external_initializers_file_folder_path", folder)
    return onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])


def _needed(model: Path | bytes) -> tuple[bytes | None, bool]:
    """(the model without the nodes that no output needs, None if it needs all; whether it has branches)."""
    import onnx  # noqa: PLC0415

    from facegate_convert._graph import _nested  # noqa: PLC0415

    read: onnx.ModelProto = onnx.ModelProto.FromString(model if isinstance(model, bytes) else model.read_bytes())
    proto = _nested.without_functions(read)
    left_out = _prune(proto.graph)
    branches = any(True for node in proto.graph.node for _ in _nested.subgraphs(node))
    return (proto.SerializeToString() if left_out or proto is not read else None), branches


def _prune(graph: onnx.GraphProto) -> int:
    """Leave nodes out that no output of a graph needs, and so in the graphs within it. Returns how many."""
    from facegate_convert._graph import _nested  # noqa: PLC0415

    kept = _nested.live_nodes(graph)
    left_out = len(graph.node) - len(kept)
    if left_out:
        del graph.node[:]
        graph.node.extend(kept)
    return left_out + sum(_prune(inner) for node in graph.node for inner in _nested.subgraphs(node))
