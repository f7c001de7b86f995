"""onnxruntime, as the converter uses it: on the processor, quiet, and telling nobody."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

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
    """An `InferenceSession` of an ONNX model. Raises whatever onnxruntime raises, a dozen classes of its own."""
    onnxruntime = load()
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # fair to whatever else runs here
    source = model if isinstance(model, bytes) else str(model)
    return onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])
