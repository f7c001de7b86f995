"""Fixtures of the converter's tests: small ONNX models, and the comparison of a lowering with onnxruntime."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from facegate_convert import load_graph, lower
from facegate_convert._convert import Options, convert, load_detector

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from facegate_convert import LoweredModel
    from facegate_convert._convert import Conversion

# Largest difference to onnxruntime, relative to the range of an output's values.
TOLERANCE = 1e-4


def _build(
    nodes: Sequence[Any],
    inputs: Mapping[str, Sequence[Any]],
    outputs: Sequence[str],
    weights: Mapping[str, np.ndarray] | None = None,
    *,
    opset: int = 13,
    dtypes: Mapping[str, int] | None = None,
) -> bytes:
    """An ONNX model's bytes; nodes from onnx.helper, inputs as shapes, weights as arrays."""
    kinds = dtypes or {}
    graph = helper.make_graph(
        list(nodes),
        "graph",
        [helper.make_tensor_value_info(n, kinds.get(n, TensorProto.FLOAT), list(s)) for n, s in inputs.items()],
        [onnx.ValueInfoProto(name=n) for n in outputs],
        [numpy_helper.from_array(np.asarray(a), n) for n, a in (weights or {}).items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])
    model.ir_version = 8
    return model.SerializeToString()


def _reference(model: bytes, feeds: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    import onnxruntime  # noqa: PLC0415 - the one place that needs it

    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    names = [o.name for o in session.get_outputs()]
    return dict(zip(names, session.run(None, dict(feeds)), strict=True))


def _run(lowered: LoweredModel, feeds: Mapping[str, np.ndarray], *, delegate: bool = True) -> dict[str, np.ndarray]:
    """Outputs by ONNX name, in the lowered model's layout."""
    from ai_edge_litert.interpreter import Interpreter, OpResolverType  # noqa: PLC0415 - heavy, only when it runs

    kind = OpResolverType.AUTO if delegate else OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    interpreter = Interpreter(model_content=lowered.model, num_threads=1, experimental_op_resolver_type=kind)
    interpreter.allocate_tensors()
    runner = interpreter.get_signature_runner("serving_default")
    given = {i.name: lowered.arrange(i.name, feeds[lowered.onnx_names[i.name]]) for i in lowered.inputs}
    results = runner(**given)
    return {lowered.onnx_names[o.name]: results[o.name] for o in lowered.outputs}


def _difference(lowered: LoweredModel, expected: Mapping[str, np.ndarray], found: Mapping[str, np.ndarray]) -> float:
    """The largest difference over all outputs, relative to each output's range."""
    worst = 0.0
    for info in lowered.outputs:
        name = lowered.onnx_names[info.name]
        wanted = lowered.arrange(info.name, expected[name]).astype(np.float64)
        assert found[name].shape == wanted.shape == info.shape
        spread = max(float(np.ptp(wanted)), float(np.abs(wanted).max()), 1e-6)
        assert np.isfinite(found[name]).all()
        worst = max(worst, float(np.abs(found[name] - wanted).max()) / spread)
    return worst


@pytest.fixture(scope="session")
def onnx_model() -> Callable[..., bytes]:
    """Builds a small ONNX model."""
    return _build


@pytest.fixture(scope="session")
def reference() -> Callable[..., dict[str, np.ndarray]]:
    """Runs an ONNX model in onnxruntime."""
    return _reference


@pytest.fixture(scope="session")
def run_lowered() -> Callable[..., dict[str, np.ndarray]]:
    """Runs a lowered model in LiteRT."""
    return _run


@pytest.fixture(scope="session")
def difference() -> Callable[..., float]:
    """Compares outputs."""
    return _difference


@pytest.fixture(scope="session")
def check() -> Callable[..., LoweredModel]:
    """Lowers a model, runs it and onnxruntime on the same input, asserts that they agree, and returns the lowering."""

    def checked(
        model: bytes,
        feeds: Mapping[str, np.ndarray],
        expected: Mapping[str, np.ndarray] | None = None,
        **options: Any,
    ) -> LoweredModel:
        lowered = lower(load_graph(model), **options)
        expected = _reference(model, feeds) if expected is None else expected
        assert _difference(lowered, expected, _run(lowered, feeds)) <= TOLERANCE
        return lowered

    return checked


@pytest.fixture(scope="session")
def converted(material_of, onnx_path) -> Callable[..., Conversion]:
    """A function: "rendered" or "real", a model's name, precision, its detector's name -> what `convert` makes of it.

    Calibrated with that kind's photographs, and made once for all tests: a search for an int8 model takes seconds.
    """
    made: dict[tuple[str, ...], Conversion] = {}

    def get(kind: str, name: str, precision: str = "int8", finder: str = "") -> Conversion:
        if (kind, name, precision, finder) not in made:
            detector = load_detector(onnx_path(finder), lambda *_: None) if finder else None
            calibration = material_of(kind).calibration
            options = Options(precision=precision, calibration=calibration, detector=detector, measure_latency=False)
            made[kind, name, precision, finder] = convert(onnx_path(name), options)
        return made[kind, name, precision, finder]

    return get
