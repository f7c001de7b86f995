"""Nets, losses and assignment on known cases; a short training of each; export. Needs torch."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from facegate_train import _detector, _liveness, _recognizer

torch = pytest.importorskip("torch", reason="needs torch: pip install 'facegate[train]'")

from facegate_convert._convert import convert  # noqa: E402 - nothing of this runs without torch
from facegate_convert._families import recognize  # noqa: E402
from facegate_convert._graph import load_graph  # noqa: E402
from facegate_train import _export, _losses, _nets  # noqa: E402
from facegate_train._assign import LEAST, MOST, RADIUS, SHARE, STRIDE, assign, cells  # noqa: E402
from facegate_train._cache import ensure  # noqa: E402
from facegate_train._loop import Clock, Plan, ahead, grouped, order, rate, step  # noqa: E402
from facegate_train._pictures import Frames  # noqa: E402
from facegate_train._warp import Batch  # noqa: E402
from facegate_train.errors import DivergedError  # noqa: E402

NETS = {"detector": (_nets.Detector, 320), "recognizer": (_nets.Recognizer, 112), "liveness": (_nets.Liveness, 80)}


@pytest.fixture(autouse=True)
def _one_thread():
    torch.set_num_threads(1)
    torch.manual_seed(0)


def used(role):
    """A net whose normalisation has seen something, ready to run."""
    make, side = NETS[role]
    net = make()
    scale = 1 / 127.5 if role == "recognizer" else 255 * _nets.PIXEL_SCALE
    with torch.no_grad():
        for _ in range(3):
            net(torch.rand(4, 3, side, side) * scale)
    return net.eval()


# Nets


def test_the_nets_have_the_shapes_that_the_families_want():
    """Maps of 16 channels at three strides, 128 values, 3 logits; the three together fit into 3 MB of float32."""
    assert [tuple(m.shape) for m in used("detector")(torch.zeros(2, 3, 320, 320))] == [
        (2, 16, 40, 40),
        (2, 16, 20, 20),
        (2, 16, 10, 10),
    ]
    assert used("recognizer")(torch.zeros(2, 3, 112, 112)).shape == (2, 128)
    assert used("liveness")(torch.zeros(2, 3, 80, 80)).shape == (2, 3)
    assert sum(_nets.parameters(make()) for make, _ in NETS.values()) * 4 < 3_000_000


def test_the_recogniser_takes_smaller_faces_in_training():
    """Its last convolution is averaged for a smaller map: what is the same everywhere still weighs the same."""
    layer = _nets.Everywhere(6, 7)
    flat = torch.rand(1, 6, 1, 1)
    with torch.no_grad():
        layer.weight.copy_(torch.rand(6, 1, 1, 1).expand(6, 1, 7, 7))
        large, small = layer(flat.expand(1, 6, 7, 7)), layer(flat.expand(1, 6, 5, 5))
    assert large.shape == small.shape == (1, 6, 1, 1)
    assert torch.allclose(small, large, rtol=1e-5)
    assert used("recognizer")(torch.zeros(2, 3, 80, 80)).shape == (2, 128)


def test_the_average_is_ahead_of_neither_end():
    """After one step the average lies between the first weights and the new ones."""
    net = _nets.Liveness()
    average = _nets.Average(net, decay=0.5)
    before = net.logits.weight.detach().clone()
    with torch.no_grad():
        net.logits.weight += 1
    average.update(net)
    moved = average.state["logits.weight"] - before
    assert (moved > 0).all()
    assert (moved <= 1).all()


# Losses


def test_the_margin_makes_a_right_answer_cost_more():
    """With the embedding on its class's centre the loss is known, and a margin raises it."""
    head = _losses.AngularMargin(2, 2, scale=10.0)
    head.weight.data = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    embedding, classes = torch.tensor([[3.0, 0.0]]), torch.tensor([0])
    assert float(head(embedding, classes, 0.0)) == pytest.approx(math.log(1 + math.exp(-10)), rel=1e-3)
    assert float(head(embedding, classes, 0.5)) == pytest.approx(math.log(1 + math.exp(-5)), rel=1e-3)


def test_the_margin_rises_to_its_end():
    """The schedule starts without a margin, never falls, and ends at the full one."""
    values = [_recognizer.margin(p / 100) for p in range(101)]
    assert values[0] == 0
    assert values == sorted(values)
    assert values[-1] == _recognizer.MARGIN


@pytest.mark.parametrize(
    ("a", "b", "overlap"),
    [((0, 0, 2, 2), (0, 0, 2, 2), 1.0), ((0, 0, 2, 2), (1, 0, 3, 2), 1 / 3), ((0, 0, 1, 1), (5, 5, 6, 6), 0.0)],
)
def test_boxes_that_overlap(a, b, overlap):
    """IoU on known boxes; EIoU is 0 for equal boxes and grows with the distance of those that do not meet."""
    one, two = torch.tensor([a], dtype=torch.float32), torch.tensor([b], dtype=torch.float32)
    assert float(_losses.box_iou(one, two)) == pytest.approx(overlap, abs=1e-5)
    assert (float(_losses.eiou_loss(one, two)) < 1e-5) == (overlap == 1)
    if not overlap:
        assert float(_losses.eiou_loss(one, two + 20)) > float(_losses.eiou_loss(one, two))


def test_the_wing_is_steep_near_zero_and_has_no_step():
    """Its slope is larger for small errors, and both branches meet."""
    x = torch.tensor([0.0, 0.001, 0.0999999, 0.1000001, 0.2, 0.201])
    y = _losses.wing(x)
    assert y[0] == 0
    assert float(y[3] - y[2]) == pytest.approx(0, abs=1e-4)
    assert (y[1] - y[0]) / 0.001 > (y[5] - y[4]) / 0.001


def test_what_is_judged_well_hardly_counts():
    """The focal factor makes a confident right score cost far less than its cross entropy."""
    logits = torch.tensor([-4.0])
    assert float(_losses.quality_focal(logits, torch.tensor([0.0]))) < 1e-4
    assert float(_losses.quality_focal(logits, torch.tensor([1.0]))) > 3


# Assignment


def test_cells_are_yunets():
    """Corners of cells row by row, as the runtime decodes them."""
    points = cells(64, 32)
    assert len(points) == 8 * 4
    assert points[5].tolist() == [8.0, 8.0]


@pytest.mark.parametrize("side", [LEAST + 1, 24, 50, MOST - 1])
def test_a_face_is_answered_for_by_the_cells_at_its_middle(side):
    """Cells near a face's middle answer for it, the nearest among them; none does for one too small or too large."""
    box = torch.tensor([[[160 - side / 2, 160 - side / 2, 160 + side / 2, 160 + side / 2]]])
    target = assign(box, torch.zeros(1, 1, dtype=torch.bool), 320, 320)
    chosen = target.positive[0]
    away = (target.points[chosen] - 160).abs().max(-1).values
    assert float(away.min()) == 0
    assert (away <= max(RADIUS * STRIDE, SHARE * side)).all()
    for factor in (0.9 * LEAST / side, 1.1 * MOST / side):
        other = 160 + (box - 160) * factor
        assert not assign(other, torch.zeros(1, 1, dtype=torch.bool), 320, 320).positive.any()


def test_parts_of_a_face_that_is_much_too_large_are_background():
    """A net that is shown an eye as large as a face says that it is none; one that is a little too large is ignored."""
    hidden = torch.zeros(1, 1, dtype=torch.bool)
    assert not assign(torch.tensor([[[0.0, 0, 200, 200]]]), hidden, 192, 192).ignored.any()
    assert assign(torch.tensor([[[50.0, 50, 150, 150]]]), hidden, 192, 192).ignored.any()


def test_the_smaller_of_two_faces_wins_a_cell():
    """A cell near two faces' middles answers for the smaller one, and each face has a cell of its own."""
    boxes = torch.tensor([[[60.0, 60, 100, 100], [68.0, 68, 92, 92]]])
    target = assign(boxes, torch.zeros(1, 2, dtype=torch.bool), 160, 160)
    assert 1 in target.face[0][target.positive[0]].tolist()


def test_a_hidden_face_is_neither_face_nor_background():
    """Cells of a face that hardly shows are ignored, all others are background."""
    box = torch.tensor([[[60.0, 60, 100, 100], [math.nan] * 4]])
    target = assign(box, torch.tensor([[True, False]]), 160, 160)
    assert not target.positive.any()
    assert target.ignored[0][(target.points == 80).all(-1)].all()
    assert not target.ignored[0][(target.points == 0).all(-1)].any()


def test_an_empty_picture_is_all_background():
    """Without a face nothing is positive or ignored."""
    target = assign(torch.full((1, 3, 4), math.nan), torch.zeros(1, 3, dtype=torch.bool), 64, 64)
    assert not target.positive.any()
    assert not target.ignored.any()


def test_a_perfect_answer_costs_next_to_nothing():
    """Maps that say exactly what is assigned have no box and landmark loss; an empty picture has neither."""
    box = torch.tensor([[[40.0, 48, 72, 88]]])
    landmarks = torch.tensor([[[[48.0, 60], [64, 60], [56, 68], [50, 78], [62, 78]]]])
    hidden = torch.zeros(1, 1, dtype=torch.bool)
    points = cells(128, 128)
    rows = torch.full((1, len(points), 16), -9.0)
    target = assign(box, hidden, 128, 128)
    middle, sides = (box[0, 0, :2] + box[0, 0, 2:]) / 2, box[0, 0, 2:] - box[0, 0, :2]
    rows[0, :, 2:4], rows[0, :, 4:6] = (middle - points) / STRIDE, (sides / STRIDE).log()
    rows[0, :, 6:] = ((landmarks[0, 0][None] - points[:, None]) / STRIDE).flatten(1)
    rows[0, target.positive[0], :2] = 9.0
    values = rows.transpose(1, 2).reshape(1, 16, 16, 16)
    found = _losses.detector_loss(values, box, landmarks, hidden, torch.ones(1, 1, 5))
    assert all(float(value) < 1e-3 for value in found.values())
    nothing = _losses.detector_loss(values, box * math.nan, landmarks, hidden, torch.ones(1, 1, 5))
    assert float(nothing["box"]) == float(nothing["points"]) == 0
    assert float(nothing["class"]) > 1


@pytest.mark.parametrize("level", [0, 1, 2])
def test_what_is_found_in_a_smaller_picture_is_told_in_the_pictures_pixels(level):
    """A cell of the half's or the quarter's map, decoded by its stride, says where that is in the picture itself."""
    net = used("detector")
    stride = _nets.STRIDES[level]
    pixels = torch.rand(1, 3, 128, 128)
    with torch.no_grad():
        whole = net(pixels)[level][0]
        small = net.one(net.pictures(pixels)[level])[0]
    row, column = 1, 2
    x, y = whole[6, row, column] * stride + column * stride, whole[7, row, column] * stride + row * stride
    there = small[6:8, row, column] * STRIDE + torch.tensor([column, row]) * STRIDE
    # The middle of the small picture's first pixel is that of the 2**level pixels that it is the mean of.
    expected = (there + 0.5) * 2**level - 0.5
    assert torch.allclose(torch.stack([x, y]), expected, atol=1e-3)
    assert torch.allclose(whole[2:4], small[2:4] + _nets.middle_of(level))
    assert torch.equal(whole[4:6], small[4:6])


# The loop


def test_the_rate_rises_and_runs_out():
    """A warm-up, a peak, and almost nothing at the end."""
    plan = Plan(epochs=1, batch=1, rate=1.0, warm=0.1)
    values = [rate(p / 100, plan) for p in range(101)]
    assert max(values) == pytest.approx(1.0)
    assert values[0] < 0.05
    assert values[-1] < 0.01


def test_minutes_end_a_training():
    """With no minutes left the clock says that training is over, whatever the steps."""
    clock = Clock(1000, 1e-9)
    assert clock.progress >= 1
    assert Clock(1000, None).progress == 0


def test_a_loss_that_is_no_number_ends_training():
    """NaN is an error, not a model."""
    weight = torch.nn.Parameter(torch.ones(1))
    optimizer = torch.optim.SGD([weight], lr=0.1)
    with pytest.raises(DivergedError):
        step((weight * math.nan).sum(), optimizer, [weight], clip=1.0)


def test_normalisation_and_biases_do_not_decay():
    """Weight decay is for weights."""
    decayed, free = grouped(_nets.Liveness(), 0.1)
    assert decayed["weight_decay"] == 0.1
    assert free["weight_decay"] == 0
    assert all(p.ndim <= 1 for p in free["params"])


def test_every_picture_is_seen_once_a_pass():
    """Batches of one pass share no picture."""
    stream = order(10, 4, np.random.default_rng(0))
    assert len({*next(stream).tolist(), *next(stream).tolist()}) == 8
    assert len(next(order(3, 8, np.random.default_rng(0)))) == 3


def test_what_goes_wrong_ahead_is_raised_where_it_is_used():
    """An error in the thread that prepares batches is not lost."""

    def broken():
        yield 1
        raise ValueError("no batch")

    stream = ahead(broken())
    assert next(stream) == 1
    with pytest.raises(ValueError, match="no batch"):
        next(stream)


# Training


def test_training_the_recogniser_lowers_its_loss(portraits, quick):
    """A few steps on a few people already tell them apart better."""
    plan = quick(_recognizer, 30, len(portraits), rate=0.02)
    net, facts = _recognizer.train(portraits, plan)
    assert facts["identities"] == 6
    assert facts["steps"] == 30
    assert not net.training
    points = portraits.all("landmarks")
    with torch.no_grad():
        rows = [inputs(portraits, n, points) for n in range(24)]
        values = torch.nn.functional.normalize(net(torch.from_numpy(np.stack(rows)).permute(0, 3, 1, 2)))
    alike = (values @ values.T).numpy()
    same = portraits.all("identity")[:, None] == portraits.all("identity")[None]
    assert alike[same & ~np.eye(24, dtype=bool)].mean() > alike[~same].mean() + 0.2


def inputs(cache, number, points):
    """One aligned face, as a net is fed."""
    batch = Batch(1, 112, "RGB")
    _recognizer.fill(batch, 0, cache.get("pixels", number), points[number])
    return batch.array[0]


def test_training_the_detector_lowers_its_loss_and_calibrates_it(frames, quick, tmp_path):
    """A few steps lower the loss; the shift makes face-free frames score below the threshold."""
    net, facts = _detector.train(frames, quick(_detector, 12, len(frames)))
    assert facts["steps"] == 12
    assert facts["loss"] < facts["loss_first"]
    assert facts["losses"].keys() == {"class", "object", "box", "points", "dense"}
    empty = ensure(Frames("validation", 10, empty=1.0, width=128, height=128), tmp_path / "c", workers=1)
    with torch.no_grad():
        net.score.bias += 6  # everything is a face
    found = _detector.calibrate(net, empty, threads=1)
    assert found["shift"] < 0
    for number in range(10):
        pixels = np.ascontiguousarray(empty.get("pixels", number)[None, :, :, ::-1].astype(np.float32))
        with torch.no_grad():
            maps = net(torch.from_numpy(pixels).permute(0, 3, 1, 2) * _nets.PIXEL_SCALE)
        assert max(float(m[0, :2].sigmoid().prod(0).sqrt().max()) for m in maps) < 0.7


def test_training_the_liveness_model_lowers_its_loss(faces80, quick):
    """Stripes are told from none after a few steps."""
    _, facts = _liveness.train(faces80, quick(_liveness, 60, len(faces80)))
    assert facts["live"] == 18
    assert facts["loss"] < facts["loss_first"]
    short, _ = _liveness.train(faces80, quick(_liveness, 1, len(faces80)))
    assert isinstance(short, _nets.Liveness)


@pytest.mark.parametrize(
    ("module", "pictures"), [(_detector, "frames"), (_recognizer, "portraits"), (_liveness, "faces80")]
)
def test_the_same_seed_gives_the_same_net(module, pictures, quick, request, monkeypatch):
    """Training is repeatable on one machine, however far the next batches were prepared when its first part ended."""
    cache = request.getfixturevalue(pictures)
    plan = quick(module, 4, len(cache))
    one = module.train(cache, plan)[0].state_dict()
    monkeypatch.setattr(module, "ahead", lambda items: ahead(items, depth=1))
    two = module.train(cache, plan)[0].state_dict()
    assert all(torch.equal(one[k], two[k]) for k in one)


# Export


@pytest.mark.parametrize("role", list(NETS))
def test_an_exported_net_computes_the_same(role, tmp_path):
    """Onnxruntime on raw input gives what the net gives on its own, the converter knows the family, one partition."""
    ort = pytest.importorskip("onnxruntime")
    net, path = used(role), tmp_path / f"{role}.onnx"
    if role == "detector":
        with torch.no_grad():
            net.score.weight *= 30  # scores that span 0..1, as trained ones do
            net.score.bias.zero_()
    _export.export(role, net, path, {"training": json.dumps({"pictures": 1})})
    side = NETS[role][1]
    raw = torch.rand(1, 3, side, side) * 255
    fed = (raw - 127.5) / 127.5 if role == "recognizer" else raw
    with torch.no_grad():
        expected = net(fed if role == "recognizer" else raw * _nets.PIXEL_SCALE)
    found = ort.InferenceSession(str(path)).run(None, {"input": fed.numpy()})
    if role == "detector":
        rows = torch.cat([m.flatten(2).transpose(1, 2) for m in expected], 1)
        rows = torch.cat([rows[..., :2].sigmoid(), rows[..., 2:]], -1).numpy()
        joined = [np.concatenate(found[3 * n : 3 * n + 3], 1) for n in range(4)]
        assert np.allclose(np.concatenate(joined, -1), rows, atol=1e-4)
    else:
        assert np.allclose(found[0], expected.numpy(), atol=1e-4)
    match = recognize(load_graph(path))
    assert (match.role, match.family) == (role, {"detector": "yunet", "recognizer": "arcface"}.get(role, "minifasnet"))
    assert convert(path).report.partitions == 1


def test_an_exported_net_says_what_it_is(tmp_path):
    """Metadata marks it as a demonstration and names its licence; its batch normalisation is folded away."""
    onnx = pytest.importorskip("onnx")
    _export.export("recognizer", used("recognizer"), tmp_path / "r.onnx")
    model = onnx.load(tmp_path / "r.onnx")
    marks = {entry.key: entry.value for entry in model.metadata_props}
    assert marks["facegate.demonstration"] == "true"
    assert marks["facegate.licence"] == "Apache-2.0"
    assert "rendered faces only" in model.doc_string
    assert "BatchNormalization" not in {node.op_type for node in model.graph.node}
    assert str(tmp_path) not in str(model)
