"""Models that are really damaged: what a quantizer, an exporter or a slip of the hand does to a network.

Each function takes a lowered source or the bytes of a TFLite model and gives another model of the same tensors.
"""

from __future__ import annotations

import dataclasses
import re
import struct

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from facegate_convert._lower import lower


def relowered(source, change):
    """The float32 model of a source whose weights were changed: `change(name, array, node) -> array`."""
    constants = dict(source.graph.constants)
    for node in source.graph.nodes:
        if node.op in ("Conv", "Gemm", "MatMul"):
            name = node.inputs[1]
            if name in constants:
                constants[name] = np.asarray(change(name, constants[name], node), np.float32)
    return lower(dataclasses.replace(source.graph, constants=constants), output_names=source.names).model


def noisy(source, share, seed=3):
    """Noise of `share` of each weight tensor's standard deviation: what a too coarse quantizer leaves."""
    random = np.random.default_rng(seed)
    return relowered(source, lambda _n, w, _o: w + random.normal(0, share * w.std(), w.shape))


def coarse(source, bits):
    """Weights rounded to 2**bits levels over the range of a whole tensor."""

    def rounded(_name, w, _node):
        step = 2 * np.abs(w).max() / (2**bits - 1)
        return np.rint(w / step) * step

    return relowered(source, rounded)


def swapped_colors(source):
    """The model as if it were fed BGR for RGB: the input channels of its first convolutions in reverse order."""
    return relowered(source, lambda _n, w, o: w[:, ::-1] if o.op == "Conv" and w.shape[1] == 3 else w)


def scaled_layer(source, place, factor):
    """One convolution's weights, wherever they are used, times a factor: a scale that was lost or written twice."""
    own = list(dict.fromkeys(_shared(n.inputs[1]) for n in source.graph.nodes if n.op == "Conv"))
    return relowered(source, lambda n, w, _o: w * factor if _shared(n) == own[place] else w)


def _shared(name):
    """A weight's name without the number that each further use of it gets."""
    return re.sub(r"(?<=weight)_\d+$", "", name)


def wrong_scale(model, factor, share=0.5):
    """An int8 model in which the weights of one convolution in the middle have scales that are wrong by a factor."""
    data = bytearray(model)
    root = schema.Model.GetRootAs(data)
    graph = root.Subgraphs(0)
    convolutions = []
    for place in range(graph.OperatorsLength()):
        code = root.OperatorCodes(graph.Operators(place).OpcodeIndex())
        if max(code.BuiltinCode(), code.DeprecatedBuiltinCode()) == schema.BuiltinOperator.CONV_2D:
            convolutions.append(graph.Operators(place))
    weights = graph.Tensors(convolutions[int(len(convolutions) * share)].Inputs(1))
    # A view into `data`: the flatbuffer is changed in place.
    weights.Quantization().ScaleAsNumpy()[...] *= np.float32(factor)
    return bytes(data)


def in_pieces(model):
    """A float32 model whose sigmoids became an operator that XNNPACK does not have."""
    data = bytearray(model)
    root = schema.Model.GetRootAs(data)
    for place in range(root.OperatorCodesLength()):
        code = root.OperatorCodes(place)
        if max(code.BuiltinCode(), code.DeprecatedBuiltinCode()) == schema.BuiltinOperator.LOGISTIC:
            _overwrite(data, code, 4, "<b", schema.BuiltinOperator.LOG_SOFTMAX)
            _overwrite(data, code, 10, "<i", schema.BuiltinOperator.LOG_SOFTMAX)
    return bytes(data)


def _overwrite(data, table, field, kind, value):
    offset = table._tab.Offset(field)
    if offset:
        struct.pack_into(kind, data, table._tab.Pos + offset, value)
