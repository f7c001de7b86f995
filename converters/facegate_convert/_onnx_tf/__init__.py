"""onnx-tf, the legacy converter, in an environment of its own."""

from facegate_convert._onnx_tf._driver import convert_via_onnx_tf, find_python
from facegate_convert._onnx_tf._repair import repaired, simplified

__all__ = ["convert_via_onnx_tf", "find_python", "repaired", "simplified"]
