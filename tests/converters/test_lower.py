"""Lowering as a whole: layouts, names, fusion, real models, and what a lowering costs."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import textwrap
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import pytest
from onnx import helper

import facegate_convert
from facegate_convert import load_graph, lower
from facegate_convert._lower._flatbuffer import schema
from facegate_convert.errors import ConvertError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

# file, input size for models that leave it open, (mean, scale) of the input.
MODELS = [
    ("reference/detector.onnx", None, (0, 1)),
    ("reference/liveness.onnx", None, (0, 1)),
    ("reference/recognizer.onnx", None, (127.5, 1 / 127.5)),
    ("antispoof-minifasv2se-128/best_model_98.20.onnx", None, (0, 1 / 255)),
    ("minifasnet/2.7_80x80_MiniFASNetV2.onnx", None, (0, 1)),
    ("minifasnet/4_0_0_80x80_MiniFASNetV1SE.onnx", None, (0, 1)),
    ("mobileface-becauseofai/mobileface_id_v2.onnx", None, (0, 1)),
    ("mobilefacenet-foamliu/mobilefacenet_dynbatch.onnx", None, (116, 1 / 58)),
    ("mobilefacenet-zqcnn/mobilefacenet_zqcnn.onnx", None, (0, 1)),
    ("retinaface-mnet025/retinaface_mnet025_320.onnx", None, (114, 1)),
    ("scrfd-2.5g/scrfd_2.5g_bnkps_shape320x320.onnx", None, (127.5, 1 / 128)),
    ("scrfd-2.5g/scrfd_2.5g_kps.onnx", None, (127.5, 1 / 128)),
    ("scrfd-500m/det_500m.onnx", (320, 256), (127.5, 1 / 128)),
    ("scrfd-500m/scrfd_500m_bnkps_shape320x320.onnx", None, (127.5, 1 / 128)),
    ("yunet/yunet_n_320_320.onnx", None, (0, 1)),
    ("yunet/yunet_n_640_640.onnx", None, (0, 1)),
    ("yunet/yunet_n_dynamic.onnx", (352, 288), (0, 1)),
    ("yunet/yunet_s_320_320.onnx", None, (0, 1)),
]
MAX_RSS_KIB = 400 * 1024


def partitions(lowered: Any) -> tuple[int, bool]:
    """How many pieces of the graph XNNPACK takes, and whether they reach from the inputs to the outputs."""
    from ai_edge_litert.interpreter import Interpreter  # noqa: PLC0415 - heavy, only when it runs

    interpreter = Interpreter(model_content=lowered.model, num_threads=1)
    interpreter.allocate_tensors()
    taken = [o for o in interpreter._get_ops_details() if o["op_name"] == "DELEGATE"]
    ends = {int(d["index"]) for d in interpreter.get_output_details()}
    starts = {int(d["index"]) for d in interpreter.get_input_details()}
    whole = (
        len(taken) == 1
        and {int(i) for i in taken[0]["outputs"]} == ends
        and starts <= set(map(int, taken[0]["inputs"]))
    )
    return len(taken), whole


def image_like(shape: tuple[int, ...], mean: float, scale: float) -> np.ndarray:
    """Blocks and gradients with some noise, normalised: closer to a picture than white noise."""
    random = np.random.default_rng(5)
    _, channels, height, width = shape
    blocks = random.integers(0, 200, (channels, -(-height // 16), -(-width // 16)))
    picture = np.kron(blocks, np.ones((16, 16)))[:, :height, :width] + np.linspace(0, 40, width)
    picture += random.integers(0, 16, picture.shape)
    return ((picture[None] - mean) * scale).astype(np.float32)


def expected_outputs(
    model: bytes, feeds: dict[str, np.ndarray], reference: Callable[..., Any]
) -> dict[str, np.ndarray]:
    """Onnxruntime's outputs; those that end in a Sigmoid as the exact sigmoid of its logits.

    Its Sigmoid is off by up to 1.2e-7, which is more than 1e-4 of the range of a YuNet objectness that stays near
    1e-3 on a picture without a face; LiteRT's is off by 3e-9 there (docs/adr/0008).
    """
    proto = onnx.ModelProto.FromString(model)
    outputs = [o.name for o in proto.graph.output]
    made = {o: n for n in proto.graph.node for o in n.output}
    logits = {}
    for name in outputs:
        source = made[name]
        while source.op_type in ("Reshape", "Transpose", "Flatten"):
            source = made[source.input[0]]
        if source.op_type == "Sigmoid":
            assert made[name] is source, "a score is moved after its Sigmoid: extend this reference"
            logits[name] = source.input[0]
    proto.graph.output.extend(onnx.ValueInfoProto(name=n) for n in logits.values())
    found = reference(proto.SerializeToString(), feeds)
    exact = {n: 1 / (1 + np.exp(-found[logit].astype(np.float64))) for n, logit in logits.items()}
    for name, values in exact.items():
        assert np.abs(found[name] - values).max() < 1e-6
    return {n: exact.get(n, found[n]) for n in outputs}


# Trained models


def test_every_reference_model_is_in_the_table(reference_models: Path) -> None:
    """None of the project's own models is left out of the tests below."""
    found = {f"reference/{p.name}" for p in reference_models.glob("*.onnx")}
    assert found == {name for name, _, _ in MODELS if name.startswith("reference/")}


def test_every_real_model_is_in_the_table(shared: Path) -> None:
    """No real model is left out of the tests below."""
    found = {str(p.relative_to(shared / "models")) for p in (shared / "models").rglob("*.onnx")}
    assert found == {name for name, _, _ in MODELS if not name.startswith("reference/")}


@pytest.mark.parametrize(("name", "size", "normalization"), MODELS, ids=[m[0] for m in MODELS])
@pytest.mark.parametrize("prelu", ["keep", "rewrite"])
def test_models_agree_in_one_partition_without_transposes(
    name: str,
    size: tuple[int, int] | None,
    normalization: tuple[float, float],
    prelu: Any,
    onnx_path: Callable[[str], Path],
    reference: Callable[..., Any],
    run_lowered: Callable[..., Any],
    difference: Callable[..., float],
) -> None:
    """Each trained model gives onnxruntime's outputs, XNNPACK takes it whole, and no data is moved between layouts."""
    path = onnx_path(name)
    graph = load_graph(path, input_size=size)
    lowered = lower(graph, prelu=prelu)
    feeds = {graph.inputs[0].name: image_like(graph.inputs[0].shape, *normalization)}
    expected = expected_outputs(path.read_bytes(), feeds, reference)
    assert list(expected) == [lowered.onnx_names[o.name] for o in lowered.outputs]
    assert difference(lowered, expected, run_lowered(lowered, feeds)) <= 1e-4
    assert partitions(lowered) == (1, True)
    assert lowered.transposes == 0
    if prelu == "rewrite":
        assert not {"PRELU", "LEAKY_RELU"} & set(lowered.operators)


@pytest.mark.parametrize(("name", "size"), [m[:2] for m in MODELS], ids=[m[0] for m in MODELS])
def test_converting_a_model_stays_within_its_memory(
    name: str, size: tuple[int, int] | None, onnx_path: Callable[[str], Path], record_property: Callable[..., None]
) -> None:
    """Load and lower peak at 400 MB at most, imports included; the time is recorded, not judged."""
    program = textwrap.dedent("""
        import json, re, sys, time
        from pathlib import Path
        start = time.monotonic()
        from facegate_convert import load_graph, lower
        path, size = sys.argv[1], json.loads(sys.argv[2])
        model = lower(load_graph(Path(path), input_size=None if size is None else tuple(size)))
        # Of this program alone: ru_maxrss would count what the process that started it had in memory.
        rss = int(re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1])
        heavy = sorted({"ai_edge_litert", "onnxruntime", "tensorflow"} & set(sys.modules))
        print(json.dumps({"seconds": time.monotonic() - start, "rss": rss, "heavy": heavy, "size": len(model.model)}))
    """)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    arguments = [sys.executable, "-c", program, str(onnx_path(name)), json.dumps(size)]
    done = subprocess.run(arguments, capture_output=True, check=True, text=True, env=environment)  # noqa: S603 - our own
    figures = json.loads(done.stdout)
    for key in ("seconds", "rss"):
        record_property(key, figures[key])
    assert figures["rss"] <= MAX_RSS_KIB
    assert figures["heavy"] == []


@pytest.mark.parametrize(("name", "size"), [MODELS[n][:2] for n in (0, 6, 12)])
def test_the_same_file_gives_the_same_bytes_in_every_process(
    name: str, size: tuple[int, int] | None, onnx_path: Callable[[str], Path]
) -> None:
    """Two lowerings are equal, also under another hash seed."""
    path = onnx_path(name)
    here = lower(load_graph(path, input_size=size))
    assert here.model == lower(load_graph(path, input_size=size)).model
    program = (
        "import hashlib, json, sys; from pathlib import Path; from facegate_convert import load_graph, lower\n"
        "size = json.loads(sys.argv[2])\n"
        "graph = load_graph(Path(sys.argv[1]), input_size=size and tuple(size))\n"
        "print(hashlib.sha256(lower(graph).model).hexdigest())"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p), "PYTHONHASHSEED": "77"}
    arguments = [sys.executable, "-c", program, str(path), json.dumps(size)]
    done = subprocess.run(arguments, capture_output=True, check=True, text=True, env=environment)  # noqa: S603 - our own
    assert done.stdout.strip() == hashlib.sha256(here.model).hexdigest()


# Layout


def _net(*nodes: Any) -> list[Any]:
    return [helper.make_node(op, list(i), list(o), **a) for op, i, o, a in nodes]


def _weights(*shapes: tuple[int, ...]) -> dict[str, np.ndarray]:
    random = np.random.default_rng(3)
    return {f"w{i}": random.normal(size=s).astype(np.float32) for i, s in enumerate(shapes)}


CONV = ("Conv", ["x", "w0"], ["c"], {"pads": [1, 1, 1, 1]})
IMAGE = (1, 4, 6, 8)
KERNEL = (4, 4, 3, 3)


LAYOUTS = {
    "detector head: Transpose to NHWC, then flatten": (
        [CONV, ("Transpose", ["c"], ["t"], {"perm": [0, 2, 3, 1]}), ("Reshape", ["t", "s"], ["y"], {})],
        {"s": np.asarray([-1, 2])},
        0,
    ),
    "embedding: flatten in ONNX's order into Gemm": (
        [CONV, ("Flatten", ["c"], ["f"], {}), ("Gemm", ["f", "w1"], ["y"], {})],
        {"w1": np.random.default_rng(0).normal(size=(192, 5)).astype(np.float32)},
        0,
    ),
    "softmax over channels": ([CONV, ("Softmax", ["c"], ["y"], {"axis": 1})], {}, 0),
    "concat and slice of channels": (
        [CONV, ("Concat", ["c", "x"], ["k"], {"axis": 1}), ("Split", ["k"], ["y", "z"], {"axis": 1})],
        {},
        0,
    ),
    "squeeze and excite": (
        [
            CONV,
            ("GlobalAveragePool", ["c"], ["g"], {}),
            ("Squeeze", ["g", "s"], ["q"], {}),
            ("MatMul", ["q", "w1"], ["m"], {}),
            ("Sigmoid", ["m"], ["n"], {}),
            ("Unsqueeze", ["n", "s"], ["u"], {}),
            ("Mul", ["c", "u"], ["y"], {}),
        ],
        {"s": np.asarray([2, 3]), "w1": np.random.default_rng(0).normal(size=(4, 4)).astype(np.float32)},
        0,
    ),
    "channel shuffle: the channels do move": (
        [
            CONV,
            ("Reshape", ["c", "s"], ["r"], {}),
            ("Transpose", ["r"], ["t"], {"perm": [0, 2, 1, 3, 4]}),
            ("Reshape", ["t", "s2"], ["u"], {}),
            ("Conv", ["u", "w0"], ["y"], {}),
        ],
        {"s": np.asarray([1, 2, 2, 6, 8]), "s2": np.asarray([1, 4, 6, 8])},
        1,
    ),
    "flattened in ONNX's order as an output": ([CONV, ("Flatten", ["c"], ["y"], {})], {}, 1),
    "model that is NHWC outside": (
        [
            ("Transpose", ["x"], ["n"], {"perm": [0, 3, 1, 2]}),
            ("Conv", ["n", "w0"], ["c"], {}),
            ("Transpose", ["c"], ["y"], {"perm": [0, 2, 3, 1]}),
        ],
        {"shape": (1, 8, 8, 4)},
        0,
    ),
}


@pytest.mark.parametrize(("nodes", "weights", "forced"), LAYOUTS.values(), ids=LAYOUTS.keys())
def test_data_moves_only_where_the_model_forces_it(
    nodes: list[Any], weights: dict[str, Any], forced: int, check: Callable[..., Any], onnx_model: Callable[..., bytes]
) -> None:
    """The usual idioms around convolutions need no TRANSPOSE in NHWC; those that do need one."""
    weights = dict(weights)
    shape = weights.pop("shape", IMAGE)
    outputs = nodes[-1][2]
    model = onnx_model(_net(*nodes), {"x": shape}, outputs, {**_weights(KERNEL), **weights}, opset=13)
    feed = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    assert check(model, {"x": feed}).transposes == forced


def test_images_stay_nhwc_at_the_ends_and_say_so(check: Callable[..., Any], onnx_model: Callable[..., bytes]) -> None:
    """A 4-D input and a 4-D output are NHWC; `layouts` and `arrange` say how they relate to the ONNX model's."""
    lowered = check(onnx_model(_net(CONV), {"x": IMAGE}, ["c"], _weights(KERNEL)), {"x": np.ones(IMAGE, np.float32)})
    assert lowered.inputs[0].shape == lowered.outputs[0].shape == (1, 6, 8, 4)
    assert lowered.layouts == {"input": (0, 2, 3, 1), "c": (0, 2, 3, 1)}
    assert lowered.arrange("c", np.zeros(IMAGE)).shape == (1, 6, 8, 4)


# Fusion and padding


@pytest.mark.parametrize(
    ("size", "attributes", "expected"),
    [
        (9, {"pads": [1, 1, 1, 1]}, {"CONV_2D": 1}),
        (9, {}, {"CONV_2D": 1}),
        (9, {"pads": [1, 1, 1, 1], "strides": [2, 2]}, {"CONV_2D": 1}),
        (8, {"pads": [1, 1, 1, 1], "strides": [2, 2]}, {"CONV_2D": 1, "PAD": 1}),
        (8, {"auto_pad": "SAME_UPPER", "strides": [2, 2]}, {"CONV_2D": 1}),
        (8, {"auto_pad": "SAME_LOWER", "strides": [2, 2]}, {"CONV_2D": 1, "PAD": 1}),
        (9, {"pads": [2, 2, 2, 2], "dilations": [2, 2]}, {"CONV_2D": 1}),
        (9, {"pads": [2, 2, 2, 2]}, {"CONV_2D": 1, "PAD": 1}),
    ],
)
def test_padding_is_an_operator_only_where_tflite_would_pad_differently(
    size: int, attributes: dict[str, Any], expected: dict[str, int], check: Callable[..., Any], onnx_model: Any
) -> None:
    """SAME where it pads as ONNX does, VALID without padding, else PAD; a Relu fuses in all cases."""
    shape = (1, 4, size, size)
    nodes = _net(("Conv", ["x", "w0"], ["c"], attributes), ("Relu", ["c"], ["y"], {}))
    model = onnx_model(nodes, {"x": shape}, ["y"], _weights(KERNEL))
    lowered = check(model, {"x": np.random.default_rng(1).normal(size=shape).astype(np.float32)})
    assert lowered.operators == expected


def test_padded_maxima_of_negative_values_stay_in_one_partition(
    check: Callable[..., Any], onnx_model: Callable[..., bytes]
) -> None:
    """MaxPool pads with its own edge where zeros could win, with operators that XNNPACK takes."""
    nodes = _net(("MaxPool", ["x"], ["y"], {"kernel_shape": [3, 5], "strides": [2, 2], "pads": [1, 2, 1, 4]}))
    feed = np.random.default_rng(1).uniform(-9, -1, IMAGE).astype(np.float32)
    lowered = check(onnx_model(nodes, {"x": IMAGE}, ["y"]), {"x": feed})
    assert lowered.operators["MAX_POOL_2D"] == 1
    assert partitions(lowered) == (1, True)


@pytest.mark.parametrize(
    ("slopes", "keep", "rewrite"),
    [
        ((0.0, 0.0), {"PRELU": 1}, {"RELU": 1}),
        ((0.25, 1.0), {"PRELU": 1}, {"ADD": 1, "MUL": 1}),
        ((1.5, 2.0), {"PRELU": 1}, {"MUL": 1, "SUB": 1}),
        ((0.25, 2.0), {"PRELU": 1}, {"ADD": 1, "MUL": 2}),
    ],
)
def test_prelu_is_rewritten_with_as_few_operators_as_its_slopes_allow(
    slopes: tuple[float, float],
    keep: dict[str, int],
    rewrite: dict[str, int],
    check: Callable[..., Any],
    onnx_model: Callable[..., bytes],
) -> None:
    """PRelu stays one operator in float; rewritten it is a factor with fused RELU and a sum, exact for every slope."""
    nodes = _net(("PRelu", ["x", "a"], ["y"], {}))
    weights = {"a": np.asarray(slopes, np.float32).reshape(2, 1, 1)}
    model = onnx_model(nodes, {"x": (1, 2, 5, 5)}, ["y"], weights)
    feed = np.random.default_rng(1).normal(size=(1, 2, 5, 5)).astype(np.float32)
    assert check(model, {"x": feed}).operators == keep
    assert check(model, {"x": feed}, prelu="rewrite").operators == rewrite


def test_a_relu_does_not_fuse_where_the_value_before_it_is_needed(
    check: Callable[..., Any], onnx_model: Callable[..., bytes]
) -> None:
    """A convolution that two read, or that is an output, stays linear."""
    nodes = _net(CONV, ("Relu", ["c"], ["r"], {}), ("Add", ["r", "c"], ["y"], {}))
    feed = np.random.default_rng(1).normal(size=IMAGE).astype(np.float32)
    for outputs in (["y"], ["y", "r", "c"]):
        lowered = check(onnx_model(nodes, {"x": IMAGE}, outputs, _weights(KERNEL)), {"x": feed})
        assert lowered.operators["RELU"] == 1


@pytest.mark.parametrize("count", [1, 2, 4])
def test_grouped_convolutions_are_one_operator_that_xnnpack_takes(
    count: int, check: Callable[..., Any], onnx_model: Callable[..., bytes]
) -> None:
    """CONV_2D takes groups by itself; a group a channel is DEPTHWISE_CONV_2D."""
    nodes = _net(("Conv", ["x", "w0"], ["y"], {"group": count}))
    model = onnx_model(nodes, {"x": IMAGE}, ["y"], _weights((8, 4 // count, 3, 3)))
    lowered = check(model, {"x": np.random.default_rng(1).normal(size=IMAGE).astype(np.float32)})
    assert lowered.operators == {"DEPTHWISE_CONV_2D" if count == 4 else "CONV_2D": 1}
    assert partitions(lowered) == (1, True)


# Names


def test_names_are_clean_stable_and_can_be_chosen(check: Callable[..., Any], onnx_model: Callable[..., bytes]) -> None:
    """Dots, slashes and colons go, equal names are kept apart, a single input is "input", outputs can be named."""
    nodes = _net(("Relu", ["in.put:0"], ["a/b"], {}), ("Tanh", ["in.put:0"], ["a.b"], {}))
    model = onnx_model(nodes, {"in.put:0": (2, 3)}, ["a/b", "a.b"])
    feeds = {"in.put:0": np.ones((2, 3), np.float32)}
    assert [o.name for o in check(model, feeds).outputs] == ["a_b", "a_b_1"]
    named = check(model, feeds, output_names={"a.b": "score"})
    assert [t.name for t in (*named.inputs, *named.outputs)] == ["input", "a_b", "score"]
    assert named.onnx_names == {"input": "in.put:0", "a_b": "a/b", "score": "a.b"}


def test_an_output_is_never_called_like_an_input(check: Callable[..., Any], onnx_model: Callable[..., bytes]) -> None:
    """Layouts and ONNX names are looked up by name alone, so that inputs and outputs share one set of names."""
    model = onnx_model(_net(("Relu", ["x"], ["input"], {})), {"x": (1, 3, 4, 5)}, ["input"])
    lowered = check(model, {"x": np.ones((1, 3, 4, 5), np.float32)})
    assert lowered.onnx_names == {"input": "x", "input_1": "input"}


@pytest.mark.parametrize("names", [{"nothing": "a"}, {"y": "a", "z": "a"}])
def test_output_names_that_cannot_be_are_refused(names: dict[str, str], onnx_model: Callable[..., bytes]) -> None:
    """A name for an output that does not exist, or one name for two, is an error."""
    nodes = _net(("Relu", ["x"], ["y"], {}), ("Tanh", ["x"], ["z"], {}))
    with pytest.raises(ConvertError) as caught:
        lower(load_graph(onnx_model(nodes, {"x": (2, 3)}, ["y", "z"])), output_names=names)
    assert caught.value.hint


def test_outputs_that_are_the_same_value_the_input_or_a_constant_all_arrive(
    check: Callable[..., Any], onnx_model: Callable[..., bytes]
) -> None:
    """Two names for one value, an input passed through and a constant are outputs of their own."""
    nodes = _net(
        ("Relu", ["x"], ["y"], {}),
        ("Identity", ["y"], ["again"], {}),
        ("Identity", ["x"], ["same"], {}),
        ("Identity", ["w0"], ["fixed"], {}),
    )
    model = onnx_model(nodes, {"x": IMAGE}, ["y", "again", "same", "fixed"], _weights((3, 2)))
    lowered = check(model, {"x": np.random.default_rng(1).normal(size=IMAGE).astype(np.float32)})
    assert [o.name for o in lowered.outputs] == ["y", "again", "same", "fixed"]


def test_a_model_with_several_inputs_keeps_their_names(
    check: Callable[..., Any], onnx_model: Callable[..., bytes]
) -> None:
    """Only a single input is renamed."""
    model = onnx_model(_net(("Add", ["a.1", "b"], ["y"], {})), {"a.1": (2, 3), "b": (3,)}, ["y"])
    lowered = check(model, {"a.1": np.ones((2, 3), np.float32), "b": np.ones(3, np.float32)})
    assert [i.name for i in lowered.inputs] == ["a_1", "b"]


# The file


def test_the_model_is_saved_whole_and_for_its_owner_only(tmp_path: Path, onnx_model: Callable[..., bytes]) -> None:
    """save() writes the bytes with mode 0600 and leaves nothing else behind, whether it works or not."""
    lowered = lower(load_graph(onnx_model(_net(("Relu", ["x"], ["y"], {})), {"x": (2, 3)}, ["y"])))
    lowered.save(tmp_path / "model.tflite")
    assert (tmp_path / "model.tflite").read_bytes() == lowered.model
    assert (tmp_path / "model.tflite").stat().st_mode & 0o777 == 0o600
    (tmp_path / "folder").mkdir()
    with pytest.raises(OSError, match="folder"):
        lowered.save(tmp_path / "folder")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["folder", "model.tflite"]


@pytest.mark.parametrize("name", [MODELS[n][0] for n in (0, 4)])
def test_weights_are_aligned_to_16_bytes(name: str, onnx_path: Callable[[str], Path]) -> None:
    """Buffers start at multiples of 16 in the file, so that weights can be used where they lie."""
    data = lower(load_graph(onnx_path(name))).model
    model = schema().Model.GetRootAs(data, 0)
    assert model.BuffersLength() > 50
    for i in range(model.BuffersLength()):
        buffer = model.Buffers(i)
        if buffer.DataLength():
            assert buffer._tab.Vector(buffer._tab.Offset(4)) % 16 == 0


def test_importing_the_package_imports_nothing_heavy() -> None:
    """`import facegate_convert` costs nothing before it is used."""
    program = "import sys, facegate_convert; print(sorted({'numpy', 'onnx', 'flatbuffers'} & set(sys.modules)))"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True, text=True, env=environment)  # noqa: S603
    assert done.stdout.strip() == "[]"
    assert {"load_graph", "lower", "Graph", "LoweredModel"} <= set(facegate_convert.__all__)
