"""onnxruntime reports to its maker unless it is told not to; the converter tells it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from facegate_convert import _onnxruntime

REFERENCE = (
    "import facegate_convert, pathlib; model = pathlib.Path(facegate_convert.__path__[0], 'reference/liveness.onnx')"
)


@pytest.mark.parametrize(
    "use",
    [
        "from facegate_convert import _onnxruntime as o; o.session(model)",
        (
            "from facegate_convert._measure import run_onnx; import numpy as np; "
            "run_onnx(model, [np.zeros((1, 80, 80, 3), np.float32)], channels_first=True)"
        ),
        "import facegate.cli; assert facegate.cli.main(['convert', str(model), '--dry-run', '--no-latency']) == 0",
    ],
    ids=["a session", "a measurement", "a conversion"],
)
def test_nothing_is_kept_for_the_makers_of_onnxruntime(use: str, tmp_path: Path) -> None:
    """Neither an identifier of the machine nor a queue of events is left in the home or temporary folder."""
    folders = {name: str(tmp_path / name) for name in ("HOME", "TMPDIR", "XDG_CACHE_HOME", "XDG_DATA_HOME")}
    for folder in folders.values():
        Path(folder).mkdir()
    environment = {key: value for key, value in os.environ.items() if key != "ORT_DISABLE_TELEMETRY"} | folders
    subprocess.run([sys.executable, "-c", f"{REFERENCE}; {use}"], env=environment, check=True, cwd=tmp_path)  # noqa: S603
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def _with_dead(kind: str) -> bytes:
    """A model of one Relu, and beside it what would take for ever, or all memory, and is needed by nothing."""
    float1 = helper.make_tensor_value_info("v", TensorProto.FLOAT, [])
    body = helper.make_graph(
        [helper.make_node("Identity", ["c"], ["co"]), helper.make_node("Identity", ["v"], ["vo"])],
        "body",
        [
            helper.make_tensor_value_info("i", TensorProto.INT64, []),
            helper.make_tensor_value_info("c", TensorProto.BOOL, []),
            float1,
        ],
        [
            helper.make_tensor_value_info("co", TensorProto.BOOL, []),
            helper.make_tensor_value_info("vo", TensorProto.FLOAT, []),
        ],
    )
    dead = {
        "loop": [helper.make_node("Loop", ["often", "true", "zero"], ["never"], body=body)],
        "constant": [helper.make_node("ConstantOfShape", ["large"], ["never"])],
    }
    dead["branch"] = [
        helper.make_node(
            "If",
            ["true"],
            ["y0"],
            then_branch=helper.make_graph(
                [*dead["loop"], helper.make_node("Relu", ["x"], ["t"])],
                "then",
                [],
                [helper.make_tensor_value_info("t", TensorProto.FLOAT, [1, 4])],
            ),
            else_branch=helper.make_graph(
                [*dead["constant"], helper.make_node("Identity", ["never"], ["e"])],
                "else",
                [],
                [helper.make_tensor_value_info("e", TensorProto.FLOAT, None)],
            ),
        )
    ]
    value = "y0" if kind == "branch" else "x"
    graph = helper.make_graph(
        [*dead[kind], helper.make_node("Relu", [value], ["y"])],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 4])],
        [
            helper.make_tensor("often", TensorProto.INT64, [], [1 << 50]),
            helper.make_tensor("large", TensorProto.INT64, [1], [1 << 44]),
            helper.make_tensor("true", TensorProto.BOOL, [], [True]),
            helper.make_tensor("zero", TensorProto.FLOAT, [], [0.0]),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    return bytes(model.SerializeToString())


@pytest.mark.parametrize("kind", ["loop", "constant", "branch"])
@pytest.mark.parametrize("form", ["bytes", "file"])
def test_what_no_output_needs_is_not_run(kind: str, form: str, tmp_path: Path) -> None:
    """A loop without end and a constant of terabytes that nothing reads cost neither time nor memory."""
    model: bytes | Path = _with_dead(kind)
    if form == "file":
        (tmp_path / "model.onnx").write_bytes(_with_dead(kind))
        model = tmp_path / "model.onnx"
    x = np.array([[-1, 0, 1, 2]], np.float32)
    (y,) = _onnxruntime.session(model).run(None, {"x": x})
    np.testing.assert_array_equal(y, np.maximum(x, 0))


def test_weights_in_other_files_are_found_where_nodes_are_left_out(tmp_path: Path) -> None:
    """A model that is run without its dead nodes still has the weights that lie beside it."""
    model = onnx.ModelProto.FromString(_with_dead("constant"))
    model.graph.node[-1].CopyFrom(helper.make_node("Add", ["x", "w"], ["y"]))
    model.graph.initializer.append(numpy_helper.from_array(np.array([[1, 2, 3, 4]], np.float32), "w"))
    path = tmp_path / "model.onnx"
    onnx.save(model, path, save_as_external_data=True, location="weights.bin", size_threshold=0)
    (y,) = _onnxruntime.session(path).run(None, {"x": np.zeros((1, 4), np.float32)})
    np.testing.assert_array_equal(y, [[1, 2, 3, 4]])
