"""No kernel reads or writes a byte beyond its buffers: each ends, or begins, at a page that nobody may touch.

What a sanitizer does not see, as vector loads reach a few bytes further than values do, dies here of SIGSEGV: on every
path, also on emulated cores, where there is no sanitizer. The calls are made in a child process for each group.
"""

from __future__ import annotations

import ctypes
import mmap
import subprocess
import sys
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from facegate_edge import _kernels as kernels
from facegate_edge._kernels._core import PATHS, TYPES
from facegate_edge._native import ffi, lib

if TYPE_CHECKING:
    from collections.abc import Callable

PAGE = mmap.PAGESIZE
LENGTHS = (1, 15, 16, 31, 32, 33, 63, 64, 65, 127, 128, 130)
RUNNABLE = [PATHS[path] for path in kernels.available_paths()]
_protect = ctypes.CDLL(None).mprotect


def fenced(values: Any, *, front: bool = False) -> np.ndarray:
    """A copy that ends where a forbidden page begins; with `front`, begins where one ends."""
    values = np.ascontiguousarray(values)
    room = -(-values.nbytes // PAGE) * PAGE
    memory = mmap.mmap(-1, room + 2 * PAGE)
    base = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    for at in (0, PAGE + room):
        if _protect(ctypes.c_void_p(base + at), ctypes.c_size_t(PAGE), 0):
            sys.exit("a page cannot be protected")
    start = PAGE if front else PAGE + room - values.nbytes
    out = np.frombuffer(memory, np.uint8, values.nbytes, start).view(values.dtype).reshape(values.shape)
    out[...] = values
    return out


def pointer(array: np.ndarray | None, kind: str) -> Any:
    """For a struct's field or an argument."""
    return ffi.NULL if array is None else ffi.cast(kind, array.ctypes.data)


def frame_of(fmt: int, width: int, height: int, rotation: int, *, front: bool) -> tuple[Any, np.ndarray]:
    """An fg_frame of noise."""
    size = width * height * {0: 6, 1: 6, 2: 2, 3: 3, 4: 3, 5: 4}[fmt] // 2
    data = fenced(np.random.default_rng(size).integers(0, 256, size, np.uint8), front=front)
    return ffi.new("fg_frame *", [pointer(data, "uint8_t *"), data.nbytes, width, height, fmt, rotation]), data


def target_of(width: int, height: int, dtype: str, *, straight: bool, front: bool) -> tuple[Any, Any]:
    """An fg_target whose table is computed or looked up."""
    line = np.arange(256) - (128 if dtype == "int8" else 0)
    lut = np.tile(line, (3, 1)).astype(dtype)
    if not straight:
        lut[:, 1::7] = 0
    data, table = fenced(np.zeros((height, width, 3), dtype), front=front), fenced(lut, front=front)
    places = pointer(data, "void *"), data.nbytes, pointer(table, "void *"), table.nbytes
    return ffi.new("fg_target *", [*places, width, height, TYPES[dtype], width % 2]), (data, table)


def tensor_of(values: np.ndarray, *, front: bool) -> tuple[Any, np.ndarray]:
    """An fg_tensor."""
    data = fenced(values, front=front)
    return ffi.new("fg_tensor *", [pointer(data, "void *"), data.nbytes, TYPES[data.dtype.name], 0, 0.1]), data


def sizes_of(fmt: int) -> list[tuple[int, int]]:
    """Frames: the smallest, and some on either side of the widths of vectors."""
    if fmt > 2:
        return [(2, 2), (8, 2), (14, 6), (34, 18), (66, 4)]
    return [(1, 1), (1, 9), (2, 2), (7, 3), (16, 5), (33, 17), (65, 2)]


def letterbox(*, front: bool) -> None:
    """Frame, input, table and scratch memory."""
    size, scale = ffi.new("size_t *"), ffi.new("double *")
    for fmt in range(6):
        for (width, height), rotation in product(sizes_of(fmt), (0, 90, 180, 270)):
            frame, _keep = frame_of(fmt, width, height, rotation, front=front)
            for number, (wide, high) in enumerate([(1, 1), (7, 5), (16, 16), (33, 17), (3, 40), (49, 2)]):
                dtype = ("float32", "int8")[(number + width + rotation // 90) % 2]
                target, _held = target_of(wide, high, dtype, straight=number % 3 > 0, front=front)
                assert lib.fg_letterbox_scratch(frame, target, size) == 0
                scratch = fenced(np.full(size[0], 0x7F, np.uint8), front=front)  # of whatever was there
                place = pointer(scratch, "void *")
                assert lib.fg_letterbox(frame, target, 0, place, size[0] - 1, scale) == lib.FG_ESIZE
                for path in RUNNABLE:
                    status = lib.fg_letterbox(frame, target, path, place, size[0], scale)
                    assert status == 0, (fmt, width, height, rotation, wide, high, path)


def warp(*, front: bool) -> None:
    """Frame, input, table and luma; lines that end on the frame's last pixels, leave it, or are turned."""
    matrices = [
        ffi.new("double[]", m)
        for m in (
            [1, 0, 0, 0, 1, 0],
            [0.999, 0, 0.03, 0, 0.999, 0.03],
            [-1, 0, 32.6, 0, -1, 16.4],
            [0.7, -0.7, 12.3, 0.7, 0.7, -2.1],
            [0.02, 0, 0.4, 0.01, 0.02, 0.2],
            [3.1, 0.4, -40, 0.2, 2.9, -5],
        )
    ]
    for fmt in range(6):
        for width, height in sizes_of(fmt):
            frame, _keep = frame_of(fmt, width, height, (width // 2) % 4 * 90, front=front)
            for number, (wide, high) in enumerate([(1, 1), (width, height), (63, 3), (65, 18), (67, 2)]):
                dtype = ("float32", "uint8")[number % 2]
                target, _held = target_of(wide, high, dtype, straight=number % 3 > 0, front=front)
                luma = fenced(np.zeros(wide * high, np.uint8), front=front)
                for place, (matrix, path) in enumerate(product(matrices, RUNNABLE)):
                    args = (frame, matrix, 1 + (place + number) % 2, place % 3, target, path)
                    status = lib.fg_warp(*args, pointer(luma, "uint8_t *"), luma.nbytes)
                    assert status == 0, (fmt, width, height, wide, high, place)


def decode(*, front: bool) -> None:
    """Scores, boxes, landmarks and the faces that are found: as many rows as vectors have, one more, one less."""
    priors = ffi.new("fg_priors *", {"levels": 1, "strides": [8], "anchors": [1], "variances": [0.1, 0.2]})
    priors.min_sizes[0][0] = 16
    rng = np.random.default_rng(1)
    for rows, dtype, columns in product((1, 31, 32, 33, 63, 64, 65, 97), ("float32", "int8", "uint8"), (1, 2)):
        for last in (False, True):  # whether the last row reaches the threshold, or none does
            values = np.zeros((rows, columns))
            values[-1, -1] = 10 if last else 0
            score, _a = tensor_of(values.astype(dtype), front=front)
            whole, _b = tensor_of(np.full((rows, 1), 10).astype(dtype), front=front)
            box, _c = tensor_of(rng.integers(0, 9, (rows, 4)).astype(dtype), front=front)
            points, _d = tensor_of(rng.integers(0, 9, (rows, 10)).astype(dtype), front=front)
            items = fenced(np.zeros(1, kernels.FACE_DTYPE), front=front)
            size = (8 * rows, 8)
            calls = [
                lambda f, a=(score, box, points, *size, 8, 1, 0.5): lib.fg_decode_scrfd(*a, f),
                lambda f, a=(score, whole, box, points, *size, 8, 0.5): lib.fg_decode_yunet(*a, f),
                lambda f, a=(score, box, points, priors, *size, 0.5): lib.fg_decode_retinaface(*a, f),
            ]
            for number, call in enumerate(calls):
                if number == 1 and columns == 2:
                    continue  # its scores have one
                faces = ffi.new("fg_faces *", [pointer(items, "fg_face *"), 1, 0, 0])
                assert (call(faces), faces.count) == (0, int(last)), (rows, dtype, columns, number)


def search(*, front: bool) -> None:
    """Gallery, norms, mask, probe and answers, for rows and lengths around those that are taken together."""
    rng, found = np.random.default_rng(2), ffi.new("int *")
    for length, count in product(LENGTHS, (1, 3, 4, 5, 63, 64, 65, 69)):
        stride = length + count % 3
        rows = fenced(rng.integers(-127, 128, (count, stride)).astype(np.int8) | 1, front=front)
        norms, mask = fenced(np.zeros(count, np.int32), front=front), fenced(np.ones(count, np.uint8), front=front)
        block = pointer(rows, "int8_t *"), rows.nbytes
        assert lib.fg_norm(*block, stride, length, count, pointer(norms, "int32_t *"), norms.nbytes) == 0
        sizes = pointer(norms, "int32_t *"), norms.nbytes, pointer(mask, "uint8_t *"), mask.nbytes, stride
        gallery = ffi.new("fg_gallery *", [*block, *sizes, length, count])
        probe = fenced(rows[count // 2, :length], front=front)
        indices, similarities = fenced(np.zeros(3, np.int32), front=front), fenced(np.zeros(3), front=front)
        out = pointer(indices, "int32_t *"), indices.nbytes, pointer(similarities, "double *"), similarities.nbytes
        for path in RUNNABLE:
            assert lib.fg_search(gallery, pointer(probe, "int8_t *"), length, 3, path, *out, found) == 0
            assert found[0] == min(3, count)
        last = fenced(rows[-1, :length], front=front)
        assert lib.fg_compare(pointer(probe, "int8_t *"), pointer(last, "int8_t *"), length, ffi.new("double *")) == 0


def measure(*, front: bool) -> None:
    """Embeddings and templates; planes of luma."""
    for length, dtype in product(LENGTHS, ("float32", "int8", "uint8")):
        embedding, _keep = tensor_of(np.ones(length, dtype), front=front)
        out = fenced(np.zeros(length, np.int8), front=front)
        assert lib.fg_template(embedding, pointer(out, "int8_t *"), length) == 0
    results = [ffi.new("double *") for _ in range(3)]
    for width, height in ((3, 3), (5, 3), (16, 15), (241, 3), (17, 43), (240, 5), (19, 38)):
        luma = fenced(np.full(width * height, 7, np.uint8), front=front)
        plane = pointer(luma, "uint8_t *"), luma.nbytes, width, height
        assert (lib.fg_sharpness(*plane, results[0]), lib.fg_brightness(*plane, *results)) == (0, 0)


def beyond(*, front: bool) -> None:
    """What must not be done: a byte beyond a buffer is read."""
    data = fenced(np.zeros(5, np.uint8), front=front)
    ctypes.string_at(data.ctypes.data - 1 if front else data.ctypes.data + 5, 1)


GROUPS: dict[str, Callable[..., None]] = {
    made.__name__: made for made in (letterbox, warp, decode, search, measure, beyond)
}


def _run(group: str, *sides: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, __file__, group, *sides]
    return subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - this very file


@pytest.mark.parametrize("group", [name for name in GROUPS if name != "beyond"])
def test_no_byte_beyond_a_buffer_is_touched(group: str):
    """Reading or writing one would end the process; buffers end at a forbidden page, then they begin at one."""
    done = _run(group, "end", "front")  # together: starting a process is most of it on an emulated core
    assert (done.returncode, done.stdout) == (0, "end\nfront\n"), done.stderr[-2000:]


@pytest.mark.parametrize("side", ["end", "front"])
def test_a_byte_beyond_would_be_seen(side: str):
    """The test of the test: it ends the process."""
    done = _run("beyond", side)
    assert done.returncode != 0
    assert done.stdout == ""


if __name__ == "__main__":
    for side in sys.argv[2:]:
        GROUPS[sys.argv[1]](front=side == "front")
        sys.stdout.write(f"{side}\n")
        sys.stdout.flush()
