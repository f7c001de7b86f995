"""Architectures that the converter was not written for, as PyTorch's exporters write them, compute the same."""

from __future__ import annotations

import importlib.util
import sys
from collections import defaultdict
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import pytest

from facegate_convert import errors, load_graph, lower
from facegate_convert._interpreter import quiet
from facegate_convert._measure import partitions

from . import graphs

if TYPE_CHECKING:
    from collections.abc import Callable

    from facegate_convert import LoweredModel

HERE = Path(__file__).resolve().parent
# TRANSPOSE operators that the model forces: channels shuffled, pixels exchanged for channels, heads of an attention,
# windows, and outputs whose order is not that of an image.
FORCED = {
    "edgenext": 8,
    "hrnet": 2,
    "retinaface_shuffle": 2,
    "shufflenet": 5,
    "swin": 11,
    "vit": 12,
    "yolo5_face": 2,
    "yolo8_face": 2,
}
# XNNPACK takes neither comparisons nor what is chosen by them.
CUT = {"centerface": 2, "decided": 2, "normalisations": 3}


@cache
def lowered_graph(name: str) -> LoweredModel:
    """A stored graph, lowered."""
    return lower(load_graph(graphs.load(name), input_size=graphs.image_size(name)))


def architecture(name: str) -> str:
    """The architecture of a stored graph."""
    return name.split(".", maxsplit=1)[0]


@pytest.mark.parametrize("name", graphs.names())
def test_an_architecture_computes_what_onnxruntime_computes(
    name: str,
    reference: Callable[..., Any],
    run_lowered: Callable[..., Any],
    difference: Callable[..., float],
) -> None:
    """Within 1e-4 of the output's range, in one partition where XNNPACK can, with no TRANSPOSE that nothing forces."""
    model = graphs.load(name)
    feeds = graphs.feeds(model, graphs.image_size(name))
    lowered = lowered_graph(name)
    with quiet():
        found = run_lowered(lowered, feeds)
        pieces = partitions(lowered.model)
    assert difference(lowered, reference(model, feeds), found) <= 1e-4
    assert lowered.operators.get("TRANSPOSE", 0) <= FORCED.get(architecture(name), 0)
    assert pieces <= CUT.get(architecture(name), 1)


def test_exporters_and_operator_sets_agree_about_an_architecture() -> None:
    """What an exporter writes differs tenfold in nodes; what is lowered is the same operators."""
    found = defaultdict(list)
    for name in graphs.names():
        if architecture(name) != "normalisations":  # whose Celu and thresholds the two exporters write differently
            found[architecture(name)].append(lowered_graph(name))
    for name, models in found.items():
        counts = [sum(m.operators.values()) for m in models]
        assert max(counts) - min(counts) <= 0.05 * max(counts), name


def test_the_graphs_cover_what_the_project_promises() -> None:
    """Two dozen architectures, operator sets 11 to 20, both exporters, open batch, height and width."""
    parts = [name.split(".") for name in graphs.names()]
    assert len({p[0] for p in parts}) >= 24
    assert {int(p[1].split("-")[1]) for p in parts} == set(range(11, 21))
    assert {p[1].split("-")[0] for p in parts} == {"legacy", "dynamo"}
    assert sum("open" in p for p in parts) >= 4
    assert sum(path.stat().st_size for path in graphs.FOLDER.iterdir()) < 300_000


def test_the_page_says_what_is_lowered() -> None:
    """The table in docs/lowering.md, which `table.py` writes, has every architecture with its operators."""
    page = (HERE.parents[2] / "docs" / "lowering.md").read_text(encoding="utf-8")
    table = page[page.index("<!-- table: architectures -->") : page.index("<!-- end -->")]
    rows = [[c.strip() for c in line.split("|")[1:-1]] for line in table.splitlines() if line.startswith("|")][2:]
    said = {(row[0], int(row[3]), int(row[4])) for row in rows}
    found = {
        (architecture(n), sum(m.operators.values()), m.operators.get("TRANSPOSE", 0))
        for n in graphs.names()
        for m in [lowered_graph(n)]
    }
    assert said == found
    assert all(float(row[6]) <= 1e-4 for row in rows)


def test_an_open_size_is_asked_for() -> None:
    """A graph that leaves height and width open says so; given another size it computes at that size."""
    model = graphs.load("fpn_pan.dynamo-18.open")
    with pytest.raises(errors.DynamicShapeError, match="height and width"):
        load_graph(model)
    small, large = (load_graph(model, input_size=size) for size in ((64, 64), (160, 96)))
    assert small.inputs[0].shape == (1, 3, 64, 64)
    assert large.inputs[0].shape == (1, 3, 96, 160)
    assert sum(v.shape[0] for v in large.outputs) > 3 * sum(v.shape[0] for v in small.outputs)


def test_weights_are_made_the_same_way_every_time() -> None:
    """The graphs hold no weights; those made for them are finite, and the same in every run."""
    first, second = graphs.load("mobilefacenet.dynamo-20"), graphs.load("mobilefacenet.dynamo-20")
    assert first == second
    stored = (graphs.FOLDER / "mobilefacenet.dynamo-20.onnx.xz").stat().st_size
    assert len(first) > 20 * stored
    for tensor in onnx.ModelProto.FromString(first).graph.initializer:
        assert np.isfinite(onnx.numpy_helper.to_array(tensor)).all()


@pytest.mark.parametrize(("name", "opset"), [("mobilenetv3", 12), ("convnext", 17), ("edgenext", 14)])
def test_a_fresh_export_is_lowered_like_a_stored_one(name: str, opset: int) -> None:
    """With torch installed: what it exports today is lowered to the same operators as the stored graphs.

    `export.py --check` does so for every architecture, exporter and operator set.
    """
    pytest.importorskip("torch")
    sys.path.insert(0, str(HERE))  # the nets are plain modules beside each other
    try:
        spec = importlib.util.spec_from_file_location("facegate_generality_export", HERE / "export.py")
        export = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(export)
    finally:
        sys.path.remove(str(HERE))
    fresh = lower(load_graph(export.export(name, "legacy", opset).SerializeToString()))
    stored = lower(load_graph(graphs.load(next(n for n in graphs.names() if architecture(n) == name))))
    assert fresh.operators == stored.operators
