"""Calls each kernel between marks that a counting emulator sees: the program that budgets.py runs on a machine.

    python tests/emulated/kernel_work.py [GLOB ...]

A mark is system call 0x5EED, which no kernel has. For the entry at place i of what it prints (a JSON list of names and
repetitions) it makes three: 3i, then the calls, 3i + 1, then as many calls that the kernel refuses at its first check
(a null pointer), 3i + 2. The difference of both stretches is the kernel's own: what Python and cffi take for a call is
the same in both.
"""

from __future__ import annotations

import ctypes
import fnmatch
import gc
import json
import sys
from itertools import repeat
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from facegate_edge import _kernels as kernels
from facegate_edge._kernels import _core
from facegate_edge._manifest import Quantization
from facegate_edge._native import ffi, lib
from facegate_edge._values import Frame, PixelFormat

if TYPE_CHECKING:
    from collections.abc import Callable

MARK = 0x5EED
NULL = ffi.NULL
WIDE, HIGH, SIDE, CROP = 640, 480, 320, 112
LENGTH, ROWS, BEST = 512, 10_000, 5
STRIDES = (8, 16, 32)
THRESHOLD = 0.5


class Call(NamedTuple):
    """One call of a kernel.

    Attributes:
        function: of the library.
        args: what it is called with.
        null: the place of the argument without which it refuses at once.
        keep: what must live as long as the arguments do.
    """

    function: Callable[..., int]
    args: tuple[Any, ...]
    null: int
    keep: Any = None

    def refused(self) -> tuple[Any, ...]:
        """The arguments with which the kernel does nothing."""
        return (*self.args[: self.null], NULL, *self.args[self.null + 1 :])


class Entry(NamedTuple):
    """What is counted as one.

    Attributes:
        calls: made in this order.
        prepare: brings back what the calls change, before each round of them; in both stretches.
        times: rounds. Python now and then takes some hundred instructions more: less than a thousandth of a stretch.
    """

    calls: list[Call]
    prepare: Callable[[], object] = lambda: None
    times: int = 1


def frame(name: str, width: int = WIDE, height: int = HIGH, rotation: int = 0) -> Frame:
    """A frame of noise that has all values."""
    rng = np.random.default_rng(1)
    shapes = {"rgb": (height, width, 3), "bgr": (height, width, 3), "gray": (height, width)}
    shapes |= {"yuyv": (height, width, 2)}
    shape = shapes.get(name, (height * 3 // 2, width))
    return Frame(rng.integers(0, 256, shape, np.uint8), PixelFormat[name.upper()], rotation)


def target(kind: str, side: int) -> kernels.Target:
    """A model's input by how its values are made of pixels.

    "float32" is (pixel - 127.5) / 128 and "int8" the quantised (pixel - 127.5) / 127.5, which the kernels compute;
    "float32-table", (pixel - 127.5) / 127.5, and "int8-table", which is no straight line, they look up.
    """
    dtype, _, looked_up = kind.partition("-")
    quantization = None if dtype == "float32" else Quantization(scale=float(np.float32(1 / 127.5)), zero_point=-1)
    scale = 1 / 128 if kind == "float32" else 1 / 127.5
    lut = kernels.make_lut((127.5,) * 3, (scale,) * 3, dtype, quantization)
    if looked_up and dtype == "int8":
        lut[:, 1::7] += 1
    return kernels.Target(np.empty((side, side, 3), dtype), lut, "RGB")


def letterbox(picture: Frame, into: kernels.Target) -> Entry:
    """fg_letterbox with its scratch memory."""
    box = kernels.Letterbox(into)
    box.run(picture)
    struct = box._frame.set(picture)
    args = (struct, into.struct, _core.PATHS["auto"], box._scratch, box._scratch_size, box._scale)
    return Entry([Call(lib.fg_letterbox, args, 5, (box, picture))])


def warp(picture: Frame, into: kernels.Target, *, samples: int = 1, luma: bool = True) -> Entry:
    """fg_warp of a turned face of some 250 pixels that lies inside of the frame."""
    matrix = np.array([[2.2, 0.3, 200], [-0.3, 2.2, 100]])
    plane = np.empty((CROP, CROP), np.uint8)
    ref = kernels.Warp(into, luma=plane)._frame
    gray = ffi.from_buffer("uint8_t[]", plane) if luma else NULL
    args = (
        *(ref.set(picture), ffi.from_buffer("double[]", matrix), samples, 0, into.struct, _core.PATHS["auto"]),
        *(gray, plane.nbytes if luma else 0),
    )
    return Entry([Call(lib.fg_warp, args, 1, (ref, picture, into, matrix, plane))])


def tensor(array: np.ndarray, kind: str) -> kernels.Tensor:
    """A detector's output with values in -4..4 at the least, as float32 or as int8."""
    if kind == "float32":
        return kernels.Tensor(np.ascontiguousarray(array, np.float32))
    scale = float(np.abs(array).max()) / 127
    return kernels.Tensor(np.rint(array / scale).astype(np.int8), Quantization(scale=scale, zero_point=0))


def scores(rows: int, rng: np.random.Generator, faces: int = 4) -> np.ndarray:
    """Probabilities: a few faces among background."""
    values = rng.random((rows, 1)) * 0.2
    values[rng.integers(0, rows, faces)] = 0.9
    return values


def decode(family: str, kind: str) -> Entry:
    """All heads of a detector on an input of 320x320, with about a dozen faces."""
    rng = np.random.default_rng(2)
    faces = kernels.Faces(256)
    calls: list[Call] = []
    sizes = [[16, 32], [64, 128], [256, 512]]
    per_stride = {"scrfd": 2, "yunet": 1, "retinaface": 2}[family]
    counts = [(SIDE // stride) ** 2 * per_stride for stride in STRIDES]
    functions = {
        "scrfd": lib.fg_decode_scrfd,
        "yunet": lib.fg_decode_yunet,
        "retinaface": lib.fg_decode_retinaface,
    }
    for rows, stride in zip([sum(counts)] if family == "retinaface" else counts, STRIDES, strict=False):
        score, box = tensor(scores(rows, rng), kind), tensor(rng.random((rows, 4)) * 3, kind)
        points = tensor(rng.random((rows, 10)) * 3, kind)
        if family == "scrfd":
            head: Any = kernels.ScrfdHead(
                score, box, points, width=SIDE, height=SIDE, stride=stride, anchors=per_stride
            )
        elif family == "yunet":
            whole = tensor(np.ones((rows, 1)), kind)
            head = kernels.YunetHead(score, whole, box, points, width=SIDE, height=SIDE, stride=stride)
        else:
            head = kernels.RetinafaceHead(
                score, box, points, width=SIDE, height=SIDE, strides=STRIDES, min_sizes=sizes, variances=(0.1, 0.2)
            )
        args = (*head._args, THRESHOLD, faces.struct)
        calls.append(Call(functions[family], args, len(args) - 1, head))
    return Entry(calls, faces.clear, times=50)


def suppress(count: int) -> Entry:
    """fg_nms of faces in no order, half of which overlap another one."""
    rng = np.random.default_rng(3)
    faces = kernels.Faces(count)
    records = np.zeros(count, kernels.FACE_DTYPE)
    corners = rng.random((count // 2, 2)) * 280
    corners = np.concatenate([corners, corners + 2])
    records["box"] = np.concatenate([corners, corners + 30], axis=1)
    records["score"] = rng.random(count)
    records["position"] = np.arange(count)

    def prepare() -> None:
        faces._records[:] = records
        faces.struct.count = faces.struct.rows = count

    return Entry([Call(lib.fg_nms, (faces.struct, 0.4, count), 0, faces)], prepare, times=20)


def templates(count: int) -> np.ndarray:
    """Random directions as int8 (count, 512)."""
    block = np.random.default_rng(4).standard_normal((count, LENGTH))
    return np.rint(block * 127 / np.abs(block).max(1, keepdims=True)).astype(np.int8)


def search() -> Entry:
    """fg_search of one probe among 10,000 templates, the five best."""
    rows = templates(ROWS)
    probe = rows[77].copy()
    scan = kernels.Search(rows, kernels.norm(rows, LENGTH), length=LENGTH, k=BEST)
    scan.run(probe)
    buffer = ffi.from_buffer("int8_t[]", probe)
    indices, similarities = scan._out
    out = (BEST, _core.PATHS["auto"], indices, 4 * BEST, similarities, 8 * BEST, scan._found)
    return Entry([Call(lib.fg_search, (scan.struct, buffer, probe.nbytes, *out), 9, (scan, rows, probe))])


def norms() -> Entry:
    """fg_norm of 10,000 templates."""
    rows, out = templates(ROWS), np.empty(ROWS, np.int32)
    args = (ffi.from_buffer("int8_t[]", rows), rows.nbytes, LENGTH, LENGTH, ROWS, ffi.from_buffer("int32_t[]", out))
    return Entry([Call(lib.fg_norm, (*args, out.nbytes), 5, (rows, out))])


def compare() -> Entry:
    """fg_compare of two templates."""
    rows = templates(2)
    a, b = (ffi.from_buffer("int8_t[]", row) for row in rows)
    return Entry([Call(lib.fg_compare, (a, b, LENGTH, ffi.new("double *")), 3, rows)], times=1000)


def template(kind: str) -> Entry:
    """fg_template of an embedding of 512."""
    values = tensor(np.random.default_rng(5).standard_normal((1, LENGTH)), kind)
    out = np.empty(LENGTH, np.int8)
    args = (values.struct, ffi.from_buffer("int8_t[]", out), LENGTH)
    return Entry([Call(lib.fg_template, args, 1, (values, out))], times=100)


POINTS = np.array([[38, 52], [74, 51], [56, 72], [42, 92], [71, 92]], np.float32)


def similarity() -> Entry:
    """fg_similarity of five landmarks."""
    src, dst, out = POINTS * 2.5 + 100, POINTS.copy(), ffi.new("double[6]")
    pair = [ffi.from_buffer("float[]", points) for points in (src, dst)]
    return Entry([Call(lib.fg_similarity, (*pair, 5, out), 3, (src, dst))], times=1000)


def pose() -> Entry:
    """fg_pose of five landmarks."""
    points = POINTS.copy()
    args = (ffi.from_buffer("float[]", points), points.nbytes, ffi.new("double[3]"))
    return Entry([Call(lib.fg_pose, args, 2, points)], times=1000)


def quality(function: Callable[..., int], results: int) -> Entry:
    """A measure of the luma of an aligned face."""
    luma = np.random.default_rng(6).integers(0, 256, (CROP, CROP), np.uint8)
    out = ffi.new("double[3]")
    args = (ffi.from_buffer("uint8_t[]", luma), luma.nbytes, CROP, CROP, *(out + i for i in range(results)))
    return Entry([Call(function, args, 4, (luma, out))], times=50)


def entries() -> dict[str, Callable[[], Entry]]:
    """All of them by name, each made when it is wanted."""
    made: dict[str, Callable[[], Entry]] = {}
    for name in ("rgb", "bgr", "gray", "nv12", "nv21", "yuyv"):
        for kind in ("float32", "int8"):
            made[f"preprocess/{name}-{kind}"] = lambda name=name, kind=kind: letterbox(frame(name), target(kind, SIDE))
            made[f"warp/{name}-{kind}"] = lambda name=name, kind=kind: warp(frame(name), target(kind, CROP))
    for kind in ("float32-table", "int8-table"):
        made[f"preprocess/nv12-{kind}"] = lambda kind=kind: letterbox(frame("nv12"), target(kind, SIDE))
        made[f"warp/nv12-{kind}"] = lambda kind=kind: warp(frame("nv12"), target(kind, CROP))
    for name in ("rgb", "nv12"):
        made[f"preprocess/{name}-int8-turned"] = lambda name=name: letterbox(
            frame(name, HIGH, WIDE, 90), target("int8", SIDE)
        )
        made[f"warp/{name}-int8-4samples"] = lambda name=name: warp(frame(name), target("int8", CROP), samples=2)
    made["warp/nv12-int8-noluma"] = lambda: warp(frame("nv12"), target("int8", CROP), luma=False)
    for kind in ("float32", "int8"):
        for family in ("scrfd", "yunet", "retinaface"):
            made[f"decode/{family}-{kind}"] = lambda family=family, kind=kind: decode(family, kind)
        made[f"template/{kind}"] = lambda kind=kind: template(kind)
    made["nms/64"] = lambda: suppress(64)
    made["nms/256"] = lambda: suppress(256)
    made["align/similarity"] = similarity
    made["gallery/norm-10000"] = norms
    made["gallery/search-10000"] = search
    made["gallery/compare"] = compare
    made["quality/sharpness"] = lambda: quality(lib.fg_sharpness, 1)
    made["quality/brightness"] = lambda: quality(lib.fg_brightness, 3)
    made["quality/pose"] = pose
    return made


def call_all(
    stretch: list[tuple[Callable[..., int], tuple[Any, ...]]], prepare: Callable[[], object], times: int
) -> int:
    """Make the calls; the last status."""
    status = 0
    for _ in repeat(None, times):
        prepare()
        for function, args in stretch:
            status = function(*args)
    return status


def main() -> int:
    """Make the marked calls; the exit code."""
    wanted = sys.argv[1:] or ["*"]
    every = entries()
    names = [name for name in sorted(every) if any(fnmatch.fnmatchcase(name, glob) for glob in wanted)]
    mark = ctypes.CDLL(None).syscall
    gc.disable()
    for place, name in enumerate(names):
        entry = every[name]()
        work = [(call.function, call.args) for call in entry.calls]
        refused = [(call.function, call.refused()) for call in entry.calls]
        for stretch, expected in ((work, 0), (refused, -1)):  # warm, and tried before it is counted
            if (status := call_all(stretch, entry.prepare, 2)) != expected:
                print(f"{name}: status {status}, expected {expected}", file=sys.stderr)
                return 1
        mark(MARK, 3 * place)
        call_all(work, entry.prepare, entry.times)
        mark(MARK, 3 * place + 1)
        call_all(refused, entry.prepare, entry.times)
        mark(MARK, 3 * place + 2)
    print(json.dumps([[name, every[name]().times] for name in names]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
