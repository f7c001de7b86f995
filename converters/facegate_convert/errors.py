"""Every error of the converter. The message says what is wrong, `hint` what to do about it."""

from __future__ import annotations

from facegate_edge.errors import FacegateError

__all__ = [
    "ConvertError",
    "DynamicShapeError",
    "ExternalDataError",
    "InputSizeError",
    "InvalidGraphError",
    "ModelFileError",
    "NotOnnxError",
    "TruncatedModelError",
    "UnsupportedOperatorError",
    "UnsupportedOpsetError",
]


class ConvertError(FacegateError):
    """Base of everything that can go wrong while a model is converted."""


class ModelFileError(ConvertError, OSError):
    """The model's file cannot be read: it is absent, a directory, or not permitted."""


class NotOnnxError(ConvertError, ValueError):
    """The bytes are not an ONNX model."""


class TruncatedModelError(ConvertError, EOFError):
    """An ONNX model that ends before its own lengths say it should."""


class ExternalDataError(ConvertError, OSError):
    """Weights are stored in another file that is absent, too short, or outside the model's directory."""


class UnsupportedOpsetError(ConvertError, ValueError):
    """The model uses an operator set version, or a domain, that the converter does not know."""


class DynamicShapeError(ConvertError, ValueError):
    """A dimension of the model is open and nothing says what it should be."""


class InputSizeError(ConvertError, ValueError):
    """The requested input size does not fit the model."""


class InvalidGraphError(ConvertError, ValueError):
    """The graph contradicts itself: shapes that do not fit, missing values, malformed attributes."""


class UnsupportedOperatorError(ConvertError, NotImplementedError):
    """An operator, or one of its forms, that cannot be lowered exactly.

    Attributes:
        operator: ONNX operator type, e.g. "Conv".
        node: the node's name in the model (its first output if it has none).
        reason: what about it is not supported.
    """

    def __init__(self, operator: str, node: str, reason: str, *, hint: str = "") -> None:
        super().__init__(
            f"operator {operator} (node {node!r}) cannot be converted: {reason}",
            hint=hint or "simplify the model before conversion, or cut the graph before this node",
        )
        self.operator = operator
        self.node = node
        self.reason = reason
