"""Every kernel refuses what does not fit, by its own status, before it reads or writes one byte of it."""

from __future__ import annotations

import math
import sys
import tracemalloc
from types import SimpleNamespace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from facegate_edge import _kernels as kernels
from facegate_edge._manifest import Quantization
from facegate_edge._native import ffi, lib
from facegate_edge._values import Frame, PixelFormat
from facegate_edge.errors import FacegateError, KernelError

if TYPE_CHECKING:
    from collections.abc import Callable

SIZES = 2 * (sys.maxsize + 1)  # how many values a size_t has
OK, NULL, SIZE, RANGE, FORMAT, ALIGN, DEGENERATE, PATH = range(0, -8, -1)
NAN, INF = math.nan, math.inf


def _scene() -> SimpleNamespace:  # noqa: PLR0915 - one long list of arguments is what it is
    """Arguments of every kernel that are right: a test then breaks one."""
    s = SimpleNamespace(keep=[])

    def buffer(kind: str, array: np.ndarray):
        s.keep.append(array)
        return ffi.from_buffer(kind, array)

    def tensor(array: np.ndarray):
        made = kernels.Tensor(array)
        s.keep.append(made)
        return made.struct

    s.frame = ffi.new("fg_frame *")
    s.frame.data, s.frame.size = buffer("uint8_t[]", np.zeros(8 * 6 * 3, np.uint8)), 8 * 6 * 3
    s.frame.width, s.frame.height = 8, 6
    made = kernels.Target(np.zeros((4, 5, 3), np.float32), np.zeros((3, 256), np.float32), "RGB")
    s.keep.append(made)
    s.target = made.struct
    s.scratch_size = ffi.new("size_t *")
    s.scratch = ffi.new("uint8_t[]", 8192)
    s.size = 8192
    s.path = 0
    s.scale = ffi.new("double *")
    s.m = ffi.new("double[6]", [1, 0, 0, 0, 1, 0])
    s.samples, s.border = 1, 0
    s.luma, s.luma_size = buffer("uint8_t[]", np.zeros((4, 5), np.uint8)), 20
    s.src = ffi.new("float[10]", [0, 0, 1, 0, 0, 1, 1, 1, 2, 2])
    s.dst = ffi.new("float[10]", [0, 0, 1, 0, 0, 1, 1, 1, 2, 2])
    s.n = 5
    s.score = tensor(np.zeros((4, 1), np.float32))
    s.objectness = tensor(np.zeros((4, 1), np.float32))
    s.box = tensor(np.zeros((4, 4), np.float32))
    s.points = tensor(np.zeros((4, 10), np.float32))
    s.width, s.height, s.stride, s.anchors, s.threshold = 16, 16, 8, 1, 0.5
    s.priors = ffi.new("fg_priors *")
    s.priors.levels, s.priors.strides[0], s.priors.anchors[0], s.priors.min_sizes[0][0] = 1, 8, 1, 16
    s.priors.variances = [0.1, 0.2]
    faces = kernels.Faces(4)
    s.keep.append(faces)
    s.faces = faces.struct
    s.iou, s.limit, s.factor = 0.5, 4, 2.0
    s.embedding = tensor(np.ones(16, np.float32))
    s.template, s.length = ffi.new("int8_t[16]"), 16
    s.rows = ffi.new("int8_t[64]", [1] * 64)
    s.rows_size, s.row_stride, s.count = 64, 16, 4
    s.norms, s.norms_size = ffi.new("int32_t[4]", [16] * 4), 16
    s.gallery = ffi.new("fg_gallery *")
    s.gallery.rows, s.gallery.rows_size, s.gallery.norms, s.gallery.norms_size = s.rows, 64, s.norms, 16
    s.gallery.stride, s.gallery.length, s.gallery.count = 16, 16, 4
    s.mask = ffi.new("uint8_t[4]", [1] * 4)
    s.gallery.mask, s.gallery.mask_size = s.mask, 4
    s.probe, s.probe_size, s.k = ffi.new("int8_t[16]", [1] * 16), 16, 2
    s.indices, s.indices_size = ffi.new("int32_t[2]"), 8
    s.similarities, s.similarities_size = ffi.new("double[2]"), 16
    s.found = ffi.new("int *")
    s.plane, s.plane_size, s.plane_width, s.plane_height = ffi.new("uint8_t[12]"), 12, 4, 3
    s.out = [ffi.new("double *") for _ in range(3)]
    s.landmarks = ffi.new("float[10]", [38, 51, 73, 51, 56, 71, 41, 92, 70, 92])
    s.landmarks_size = 40
    s.pose = ffi.new("double[3]")
    return s


CALLS: dict[str, Callable[[SimpleNamespace], int]] = {
    "scratch": lambda s: lib.fg_letterbox_scratch(s.frame, s.target, s.scratch_size),
    "letterbox": lambda s: lib.fg_letterbox(s.frame, s.target, s.path, s.scratch, s.size, s.scale),
    "warp": lambda s: lib.fg_warp(s.frame, s.m, s.samples, s.border, s.target, s.path, s.luma, s.luma_size),
    "similarity": lambda s: lib.fg_similarity(s.src, s.dst, s.n, s.m),
    "scrfd": lambda s: lib.fg_decode_scrfd(
        s.score, s.box, s.points, s.width, s.height, s.stride, s.anchors, s.threshold, s.faces
    ),
    "yunet": lambda s: lib.fg_decode_yunet(
        s.score, s.objectness, s.box, s.points, s.width, s.height, s.stride, s.threshold, s.faces
    ),
    "retinaface": lambda s: lib.fg_decode_retinaface(
        s.score, s.box, s.points, s.priors, s.width, s.height, s.threshold, s.faces
    ),
    "nms": lambda s: lib.fg_nms(s.faces, s.iou, s.limit),
    "scale": lambda s: lib.fg_scale_faces(s.faces, s.factor),
    "template": lambda s: lib.fg_template(s.embedding, s.template, s.length),
    "norm": lambda s: lib.fg_norm(s.rows, s.rows_size, s.row_stride, s.length, s.count, s.norms, s.norms_size),
    "search": lambda s: lib.fg_search(
        s.gallery, s.probe, s.probe_size, s.k, s.path, s.indices, s.indices_size, s.similarities, s.similarities_size,
        s.found,
    ),
    "compare": lambda s: lib.fg_compare(s.probe, s.template, s.length, s.scale),
    "sharpness": lambda s: lib.fg_sharpness(s.plane, s.plane_size, s.plane_width, s.plane_height, s.out[0]),
    "brightness": lambda s: lib.fg_brightness(s.plane, s.plane_size, s.plane_width, s.plane_height, *s.out),
    "pose": lambda s: lib.fg_pose(s.landmarks, s.landmarks_size, s.pose),
}  # fmt: skip

PIXELS = ("letterbox", "warp", "scratch")
HEADS = ("scrfd", "yunet", "retinaface")

# (calls, what is broken, its value, the status): a dotted name is a field of a struct, a number an element.
BROKEN = [
    (PIXELS, "frame", ffi.NULL, NULL),
    (PIXELS, "frame.data", ffi.NULL, NULL),
    (PIXELS, "frame.size", 143, SIZE),
    (PIXELS, "frame.size", 145, SIZE),
    (PIXELS, "frame.width", 0, RANGE),
    (PIXELS, "frame.width", -8, RANGE),
    (PIXELS, "frame.width", 16385, RANGE),
    (PIXELS, "frame.width", 2**31 - 1, RANGE),
    (PIXELS, "frame.height", 0, RANGE),
    (PIXELS, "frame.height", 7, SIZE),
    (PIXELS, "frame.format", 6, FORMAT),
    (PIXELS, "frame.format", -1, FORMAT),
    (PIXELS, "frame.format", 2, SIZE),
    (PIXELS, "frame.rotation", 45, FORMAT),
    (PIXELS, "frame.rotation", 360, FORMAT),
    (PIXELS, "target", ffi.NULL, NULL),
    (PIXELS, "target.data", ffi.NULL, NULL),
    (PIXELS, "target.lut", ffi.NULL, NULL),
    (PIXELS, "target.size", 239, SIZE),
    (PIXELS, "target.lut_size", 768, SIZE),
    (PIXELS, "target.lut_size", 3071, SIZE),
    (PIXELS, "target.lut_size", 3073, SIZE),
    (PIXELS, "target.width", 0, RANGE),
    (PIXELS, "target.height", 16385, RANGE),
    (PIXELS, "target.height", 5, SIZE),
    (PIXELS, "target.type", 3, FORMAT),
    (PIXELS, "target.bgr", 2, FORMAT),
    (("letterbox", "warp", "search"), "path", 99, FORMAT),
    (("letterbox", "warp", "search"), "path", -1, FORMAT),
    (("letterbox", "warp", "search"), "path", 4 if "neon" not in kernels.available_paths() else 2, PATH),
    (("scratch",), "scratch_size", ffi.NULL, NULL),
    (("letterbox",), "scratch", ffi.NULL, NULL),
    (("letterbox",), "scale", ffi.NULL, NULL),
    (("letterbox",), "size", 100, SIZE),
    (("warp",), "m", ffi.NULL, NULL),
    (("warp",), "m.0", NAN, RANGE),
    (("warp",), "m.5", INF, RANGE),
    (("warp",), "m.1", 1025, RANGE),
    (("warp",), "m.2", -(2.0**25), RANGE),
    (("warp",), "samples", 0, RANGE),
    (("warp",), "samples", 9, RANGE),
    (("warp",), "border", 3, FORMAT),
    (("warp",), "luma_size", 19, SIZE),
    (("similarity",), "src", ffi.NULL, NULL),
    (("similarity",), "dst", ffi.NULL, NULL),
    (("similarity",), "m", ffi.NULL, NULL),
    (("similarity",), "n", 1, RANGE),
    (("similarity",), "n", 65, RANGE),
    (("similarity",), "src.3", NAN, RANGE),
    (("similarity",), "dst.9", -INF, RANGE),
    (HEADS, "faces", ffi.NULL, NULL),
    (HEADS, "faces.items", ffi.NULL, NULL),
    (HEADS, "faces.capacity", 0, RANGE),
    (HEADS, "faces.count", 5, RANGE),
    (HEADS, "faces.count", -1, RANGE),
    (HEADS, "faces.rows", -1, RANGE),
    (HEADS, "faces.rows", 2**31 - 2, RANGE),
    (HEADS, "score", ffi.NULL, NULL),
    (HEADS, "score.data", ffi.NULL, NULL),
    (HEADS, "score.size", 12, SIZE),
    (HEADS, "score.type", 7, FORMAT),
    (HEADS, "box", ffi.NULL, NULL),
    (HEADS, "box.size", 60, SIZE),
    (HEADS, "points.size", 164, SIZE),
    (HEADS, "points.data", ffi.NULL, NULL),
    (HEADS, "threshold", NAN, RANGE),
    (HEADS, "threshold", -0.1, RANGE),
    (HEADS, "threshold", 1.1, RANGE),
    (HEADS, "width", 0, RANGE),
    (HEADS, "width", 17, SIZE),
    (HEADS, "height", 16385, RANGE),
    (("scrfd", "yunet"), "stride", 0, RANGE),
    (("scrfd", "yunet"), "stride", 16, SIZE),
    (("scrfd",), "anchors", 0, RANGE),
    (("scrfd",), "anchors", 17, RANGE),
    (("scrfd",), "anchors", 2, SIZE),
    (("yunet",), "objectness", ffi.NULL, NULL),
    (("yunet",), "objectness.size", 8, SIZE),
    (("retinaface",), "priors", ffi.NULL, NULL),
    (("retinaface",), "priors.levels", 0, RANGE),
    (("retinaface",), "priors.levels", 9, RANGE),
    (("retinaface",), "priors.levels", 2, RANGE),
    (("retinaface",), "priors.strides", [0], RANGE),
    (("retinaface",), "priors.anchors", [17], RANGE),
    (("retinaface",), "priors.anchors", [2], RANGE),
    (("retinaface",), "priors.min_sizes", [[NAN]], RANGE),
    (("retinaface",), "priors.variances", [0.1, INF], RANGE),
    (("nms", "scale"), "faces", ffi.NULL, NULL),
    (("nms", "scale"), "faces.count", 5, RANGE),
    (("nms",), "iou", NAN, RANGE),
    (("nms",), "iou", 1.01, RANGE),
    (("nms",), "limit", -1, RANGE),
    (("scale",), "factor", 0, RANGE),
    (("scale",), "factor", INF, RANGE),
    (("template",), "embedding", ffi.NULL, NULL),
    (("template",), "template", ffi.NULL, NULL),
    (("template",), "length", 15, SIZE),
    (("template",), "length", 0, RANGE),
    (("template",), "length", 4097, RANGE),
    (("norm",), "rows", ffi.NULL, NULL),
    (("norm",), "norms", ffi.NULL, NULL),
    (("norm",), "rows_size", 63, SIZE),
    (("norm",), "norms_size", 12, SIZE),
    (("norm",), "row_stride", 15, RANGE),
    (("norm",), "row_stride", SIZES // 4, RANGE),
    (("norm",), "length", 0, RANGE),
    (("norm",), "count", -1, RANGE),
    (("norm",), "count", 5, SIZE),
    (("norm",), "rows.17", -128, RANGE),
    (("search",), "gallery", ffi.NULL, NULL),
    (("search",), "gallery.rows", ffi.NULL, NULL),
    (("search",), "gallery.norms", ffi.NULL, NULL),
    (("search",), "gallery.rows_size", 63, SIZE),
    (("search",), "gallery.norms_size", 15, SIZE),
    (("search",), "gallery.mask_size", 3, SIZE),
    (("search",), "gallery.stride", 15, RANGE),
    (("search",), "gallery.stride", SIZES // 2, RANGE),
    (("search",), "gallery.length", 0, RANGE),
    (("search",), "gallery.length", 4097, RANGE),
    (("search",), "gallery.count", -1, RANGE),
    (("search",), "gallery.count", 5, SIZE),
    (("search",), "gallery.count", 2**31 - 1, SIZE),
    (("search",), "probe", ffi.NULL, NULL),
    (("search",), "probe_size", 15, SIZE),
    (("search",), "probe.0", -128, RANGE),
    (("search",), "k", 0, RANGE),
    (("search",), "k", 1025, RANGE),
    (("search",), "k", 3, SIZE),
    (("search",), "indices", ffi.NULL, NULL),
    (("search",), "indices_size", 4, SIZE),
    (("search",), "similarities", ffi.NULL, NULL),
    (("search",), "similarities_size", 8, SIZE),
    (("search",), "found", ffi.NULL, NULL),
    (("compare",), "probe", ffi.NULL, NULL),
    (("compare",), "length", 0, RANGE),
    (("compare",), "probe.3", -128, RANGE),
    (("compare",), "scale", ffi.NULL, NULL),
    (("sharpness", "brightness"), "plane", ffi.NULL, NULL),
    (("sharpness", "brightness"), "plane_size", 11, SIZE),
    (("sharpness", "brightness"), "plane_width", 0, RANGE),
    (("sharpness", "brightness"), "plane_height", 16385, RANGE),
    (("sharpness",), "plane_height", 2, RANGE),
    (("sharpness", "brightness"), "out.0", ffi.NULL, NULL),
    (("pose",), "landmarks", ffi.NULL, NULL),
    (("pose",), "pose", ffi.NULL, NULL),
    (("pose",), "landmarks_size", 36, SIZE),
    (("pose",), "landmarks.4", NAN, RANGE),
]


def _break(scene: SimpleNamespace, where: str, value: object) -> None:
    name, _, field = where.partition(".")
    if not field:
        setattr(scene, name, value)
    elif field.isdigit():
        getattr(scene, name)[int(field)] = value
    else:
        setattr(getattr(scene, name), field, value)


@pytest.mark.parametrize("call", list(CALLS))
def test_the_scene_is_right_before_it_is_broken(call: str):
    """Every kernel accepts the arguments that the other tests break one by one."""
    scene = _scene()
    scene.template[0] = 1
    assert CALLS[call](scene) == OK


@pytest.mark.parametrize(
    ("call", "where", "value", "status"),
    [(call, *rest) for calls, *rest in BROKEN for call in calls],
    ids=str,
)
def test_each_check_trips(call: str, where: str, value: object, status: int):
    """One wrong argument is refused by the status that names it."""
    scene = _scene()
    _break(scene, where, value)
    assert CALLS[call](scene) == status


@pytest.mark.parametrize(
    ("fmt", "width", "height", "size"),
    [
        (PixelFormat.NV12, 7, 6, 63),
        (PixelFormat.NV12, 8, 5, 60),
        (PixelFormat.NV21, 8, 6, 71),
        (PixelFormat.YUYV, 7, 6, 84),
        (PixelFormat.YUYV, 8, 6, 97),
        (PixelFormat.GRAY, 8, 6, 47),
    ],
)
@pytest.mark.parametrize("call", PIXELS)
def test_odd_sides_and_wrong_sizes_of_each_format(call: str, fmt: PixelFormat, width: int, height: int, size: int):
    """Chroma formats need even sides, and every format exactly its bytes."""
    scene = _scene()
    scene.frame.format, scene.frame.width, scene.frame.height, scene.frame.size = fmt, width, height, size
    assert CALLS[call](scene) == SIZE


@pytest.mark.parametrize("call", ["letterbox", "warp"])
def test_a_misaligned_float_input_is_refused(call: str):
    """A float buffer at an odd address is refused, not read."""
    scene = _scene()
    memory = ffi.new("uint8_t[]", 300)
    scene.target.data = memory + 1
    assert CALLS[call](scene) == ALIGN


def test_misaligned_tensors_norms_and_results_are_refused():
    """So are tensors, norms and the results of a search."""
    for call, name in [("scrfd", "score.data"), ("search", "gallery.norms"), ("search", "indices"),
                       ("search", "similarities"), ("norm", "norms")]:  # fmt: skip
        scene = _scene()
        memory = ffi.new("uint8_t[]", 300)
        kind = {"score.data": "void *", "gallery.norms": "int32_t *", "similarities": "double *"}.get(name, "int32_t *")
        _break(scene, name, ffi.cast(kind, memory + 1))
        assert CALLS[call](scene) == ALIGN, name


@pytest.mark.parametrize(("scale", "zero"), [(0.0, 0), (-1.0, 0), (NAN, 0), (INF, 0), (1.0, 256), (1.0, -129)])
def test_a_quantization_that_is_none_is_refused(scale: float, zero: int):
    """The scale is positive and finite, the zero point a value of the type."""
    scene = _scene()
    array = np.zeros((4, 1), np.int8)
    scene.score.data, scene.score.size, scene.score.type = ffi.from_buffer(array), 4, 1
    scene.score.scale, scene.score.zero_point = scale, zero
    assert CALLS["scrfd"](scene) == RANGE


def test_every_status_has_a_name():
    """A status is told by name, and an unknown one too."""
    names = [ffi.string(lib.fg_status_name(status)).decode() for status in range(1, -10, -1)]
    assert len(set(names[1:9])) == 8
    assert names[0] == names[9] == "unknown status"


# ---------------------------------------------------------------- the binding

RGB = np.zeros((8, 8, 3), np.uint8)
LUT = np.zeros((3, 256), np.uint8)
TARGET = np.zeros((4, 4, 3), np.uint8)


def _target() -> kernels.Target:
    return kernels.Target(TARGET.copy(), LUT, "RGB")


def _readonly(array: np.ndarray) -> np.ndarray:
    array = array.copy()
    array.flags.writeable = False
    return array


REFUSED: dict[str, Callable[[], object]] = {
    "an input of float64": lambda: kernels.Target(np.zeros((4, 4, 3)), LUT, "RGB"),
    "an input that is not contiguous": lambda: kernels.Target(np.zeros((4, 8, 3), np.uint8)[:, ::2], LUT, "RGB"),
    "a read-only input": lambda: kernels.Target(_readonly(TARGET), LUT, "RGB"),
    "an input of four channels": lambda: kernels.Target(np.zeros((4, 4, 4), np.uint8), LUT, "RGB"),
    "a batch of two": lambda: kernels.Target(np.zeros((2, 4, 4, 3), np.uint8), LUT, "RGB"),
    "a table of another type": lambda: kernels.Target(TARGET, LUT.astype(np.int8), "RGB"),
    "a table of another shape": lambda: kernels.Target(TARGET, LUT[:, :255].copy(), "RGB"),
    "an unknown color": lambda: kernels.Target(TARGET, LUT, "YUV"),
    "an unknown path": lambda: kernels.Letterbox(_target(), "sse9"),
    "an unknown border": lambda: kernels.Warp(_target(), border="wrap"),
    "a luma plane of another size": lambda: kernels.Warp(_target(), luma=np.zeros((4, 5), np.uint8)),
    "a matrix of float32": lambda: kernels.Warp(_target()).run(Frame(RGB), np.eye(2, 3, dtype=np.float32)),
    "a matrix of another shape": lambda: kernels.Warp(_target()).run(Frame(RGB), np.eye(3)),
    "a matrix of NaN": lambda: kernels.Warp(_target()).run(Frame(RGB), np.full((2, 3), np.nan)),
    "too many samples": lambda: kernels.Warp(_target()).run(Frame(RGB), np.eye(2, 3), 9),
    "points of float64": lambda: kernels.similarity(np.zeros((5, 2)), np.zeros((5, 2))),
    "points of two numbers": lambda: kernels.similarity(np.zeros((5, 2), np.float32), np.zeros((4, 2), np.float32)),
    "an integer tensor without quantisation": lambda: kernels.Tensor(np.zeros(4, np.int8)),
    "a tensor of int32": lambda: kernels.Tensor(np.zeros(4, np.int32)),
    "no room for faces": lambda: kernels.Faces(0),
    "an IoU above 1": lambda: kernels.Faces(4).nms(1.5),
    "strides without sizes": lambda: kernels.RetinafaceHead(
        kernels.Tensor(np.zeros((4, 2), np.float32)), kernels.Tensor(np.zeros((4, 4), np.float32)), None,
        width=16, height=16, strides=[8, 16], min_sizes=[[16]], variances=(0.1, 0.2),
    ),
    "a template of another length": lambda: kernels.Embedding(kernels.Tensor(np.ones(4, np.float32))).template(
        np.zeros(5, np.int8)
    ),
    "rows of one axis": lambda: kernels.norm(np.ones(4, np.int8), 4),
    "a length beyond the rows": lambda: kernels.norm(np.ones((4, 4), np.int8), 5),
    "norms of another number": lambda: kernels.Search(np.ones((4, 4), np.int8), np.ones(3, np.int32), length=4, k=1),
    "a mask of another number": lambda: kernels.Search(
        np.ones((4, 4), np.int8), np.ones(4, np.int32), length=4, k=1, mask=np.ones(3, np.uint8)
    ),
    "k of zero": lambda: kernels.Search(np.ones((4, 4), np.int8), np.ones(4, np.int32), length=4, k=0),
    "a probe of another length": lambda: kernels.Search(
        np.ones((4, 4), np.int8), np.ones(4, np.int32), length=4, k=1
    ).run(np.ones(5, np.int8)),
    "more rows than there are": lambda: kernels.Search(
        np.ones((4, 4), np.int8), np.ones(4, np.int32), length=4, k=1
    ).run(np.ones(4, np.int8), 5),
    "templates of two lengths": lambda: kernels.compare(np.ones(4, np.int8), np.ones(5, np.int8)),
    "a zero template": lambda: kernels.compare(np.ones(4, np.int8), np.zeros(4, np.int8)),
    "a luma plane of three axes": lambda: kernels.Quality(RGB),
    "landmarks of one axis": lambda: kernels.pose(np.zeros(10, np.float32)),
    "a table of an unknown type": lambda: kernels.make_lut((0, 0, 0), (1, 1, 1), "int16"),
    "a quantised table without quantisation": lambda: kernels.make_lut((0, 0, 0), (1, 1, 1), "int8"),
    "a quantised table of scale 0": lambda: kernels.make_lut((0, 0, 0), (1, 1, 1), "int8", Quantization(0.0, 0)),
    "a table of NaN": lambda: kernels.make_lut((0, 0, np.nan), (1, 1, 1), "float32"),
}  # fmt: skip


@pytest.mark.parametrize("what", list(REFUSED))
def test_the_binding_refuses(what: str):
    """A wrong argument is a KernelError with advice, of Facegate's own kind and a ValueError as well."""
    with pytest.raises(KernelError) as refusal:
        REFUSED[what]()
    assert isinstance(refusal.value, FacegateError)
    assert isinstance(refusal.value, ValueError)
    assert refusal.value.hint


def test_a_refused_frame_leaves_the_letterbox_usable():
    """After a frame that is refused the next one works."""
    out = TARGET.copy()
    letterbox = kernels.Letterbox(kernels.Target(out, np.tile(np.arange(256, dtype=np.uint8), (3, 1)), "RGB"))
    bad = SimpleNamespace(data=RGB, format=0, rotation=45, stored_size=(8, 8))
    with pytest.raises(KernelError):
        letterbox.run(bad)
    assert letterbox.run(Frame(np.full((8, 8, 3), 9, np.uint8))) == 0.5
    assert (out == 9).all()


def test_a_call_for_each_frame_allocates_no_array():
    """After the first frame of a geometry, neither the letterbox nor the warp makes an array or a C buffer."""
    frame, matrix = Frame(np.zeros((480, 640, 3), np.uint8)), np.eye(2, 3)
    letterbox = kernels.Letterbox(kernels.Target(np.zeros((320, 320, 3), np.uint8), LUT, "RGB"))
    warp = kernels.Warp(kernels.Target(np.zeros((112, 112, 3), np.uint8), LUT, "RGB"))

    def once():
        letterbox.run(frame)
        warp.run(frame, matrix)

    for _ in range(50):  # until the interpreter has specialised its bytecode
        once()
    tracemalloc.start()
    try:
        once()
        before, _ = tracemalloc.get_traced_memory()
        tracemalloc.reset_peak()
        for _ in range(20):
            once()
        after, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    # A line of the input alone would be 960 bytes, the input 300 kB.
    assert after - before < 900
    assert peak - before < 3000
