"""What can be done about operators that have no lowering, by name."""

from __future__ import annotations

_DECODING = (
    "export the model without its postprocessing, or cut the graph before this node: the runtime decodes boxes, and "
    "chooses among them, itself"
)
_QUANTIZED = "give the float model: the converter quantises it itself, by measurement (--precision int8)"
_RECURRENT = "recurrent layers belong to no face model that the runtime knows; use a convolutional one"
_LOOP = "export with torch.onnx.export(..., dynamo=True), or write the loop so that it has a fixed number of steps"
_SEQUENCE = "export again with operator set 13 or newer and fixed shapes, or with torch.onnx.export(..., dynamo=True)"
_RANDOM = "export the model in evaluation mode (model.eval())"

HINTS: dict[str, str] = {
    "BitShift": "compute it before the model, or as a multiplication",
    "ConcatFromSequence": _SEQUENCE,
    "ConvInteger": _QUANTIZED,
    "DequantizeLinear": _QUANTIZED,
    "DynamicQuantizeLinear": _QUANTIZED,
    "GRU": _RECURRENT,
    "GatherElements": _DECODING,
    "GatherND": _DECODING,
    "GridSample": "align and warp the image before the model: the runtime's aligner does it",
    "If": "export with fixed shapes: its condition then is a constant, and one branch is left",
    "LSTM": _RECURRENT,
    "Loop": _LOOP,
    "MatMulInteger": _QUANTIZED,
    "Multinomial": _RANDOM,
    "NonMaxSuppression": _DECODING,
    "NonZero": _DECODING,
    "OneHot": _DECODING,
    "QLinearConv": _QUANTIZED,
    "QLinearMatMul": _QUANTIZED,
    "QuantizeLinear": _QUANTIZED,
    "RNN": _RECURRENT,
    "RandomNormal": _RANDOM,
    "RandomNormalLike": _RANDOM,
    "RandomUniform": _RANDOM,
    "RandomUniformLike": _RANDOM,
    "RoiAlign": _DECODING,
    "Scan": _LOOP,
    "ScatterElements": _DECODING,
    "SequenceAt": _SEQUENCE,
    "SequenceConstruct": _SEQUENCE,
    "SplitToSequence": _SEQUENCE,
    "TopK": _DECODING,
    "Unique": _DECODING,
}
