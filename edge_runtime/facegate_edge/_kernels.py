"""The C kernels, checked: one function or one prepared object for each function of csrc/facegate.h.

What a kernel computes is written there. The prepared objects (`Target`, `Letterbox`, `Warp`, the heads, `Faces`,
`Embedding`, `Search`) hold their C structs and buffers, so that a call per frame allocates no array. They are not
thread safe: make one a thread. All kernels release the GIL.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from facegate_edge._native import ffi, lib
from facegate_edge.errors import KernelError

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from facegate_edge._manifest import Quantization
    from facegate_edge._values import Frame

BORDERS: Final = {"black": 0, "mirror": 1, "nearest": 2}
PATHS: Final = {"auto": 0, "scalar": 1, "avx2": 2, "avx512vnni": 3, "neon": 4, "dotprod": 5}
TYPES: Final = {"float32": 0, "int8": 1, "uint8": 2}
# dtype.name costs 6 us and some memory a call, and takes a byte-swapped type for the native one.
_NAMES: Final = {np.dtype(name): name for name in ("float32", "float64", "int8", "uint8", "int32")}
MAX_LENGTH: Final = 4096
MAX_K: Final = 1024

FACE_DTYPE: Final = np.dtype(
    [("box", "<f4", (4,)), ("landmarks", "<f4", (5, 2)), ("score", "<f4"), ("position", "<i4")],
)

_HINTS = {
    -2: "the buffers must have exactly the sizes that the geometry asks for; see csrc/facegate.h",
    -3: "a value is outside its documented range, infinite or not a number",
    -4: "see csrc/facegate.h for the formats, rotations, types and borders there are",
    -5: "use an array that numpy or the engine allocated",
    -6: "the input determines no answer; drop it",
    -7: 'this machine has no such instructions; use path="auto"',
}


def _check(status: int, what: str) -> None:
    """Turn a status that is not FG_OK into a KernelError."""
    if status:
        name = ffi.string(lib.fg_status_name(status)).decode()
        raise KernelError(f"{what}: {name}", hint=_HINTS.get(status, "see csrc/facegate.h"))


def _array(array: Any, what: str, *dtypes: str) -> Any:
    """`array` if it is a C-contiguous ndarray of one of `dtypes`; KernelError otherwise."""
    if not isinstance(array, np.ndarray) or _NAMES.get(array.dtype) not in dtypes or not array.flags.c_contiguous:
        raise KernelError(
            f"{what} is not a C-contiguous array of {' or '.join(dtypes)}",
            hint="use np.ascontiguousarray(array, dtype)",
        )
    return array


def _writable(array: Any, what: str, *dtypes: str) -> Any:
    """Like `_array`, for an output."""
    if not _array(array, what, *dtypes).flags.writeable:
        raise KernelError(f"{what} is read-only", hint="pass an array that the kernel may write to")
    return array


def _name(table: dict[str, int], name: str, what: str) -> int:
    """The number of a name."""
    try:
        return table[name]
    except KeyError:
        raise KernelError(f"{what} {name!r} is unknown", hint="one of " + ", ".join(table)) from None


def active_path() -> str:
    """The name of the code path that "auto" means on this machine."""
    number = lib.fg_active_path()
    return next(name for name, value in PATHS.items() if value == number)


def available_paths() -> tuple[str, ...]:
    """The names of the code paths that this machine can run, without "auto"."""
    return tuple(name for name, value in PATHS.items() if value and lib.fg_check_path(value) == 0)


def make_lut(
    mean: Sequence[float],
    scale: Sequence[float],
    dtype: str,
    quantization: Quantization | None = None,
) -> npt.NDArray[np.generic]:
    """The table (3, 256) of what a model is fed for each channel and pixel value.

    Float32: (pixel - mean) * scale, computed in float64. int8 and uint8: that, divided by the quantisation's scale,
    rounded half to even, plus the zero point, saturated.

    Raises:
        KernelError: unknown dtype, a quantised type without quantisation, or values that are not finite.
    """
    _name(TYPES, dtype, "dtype")
    pixels = np.arange(256, dtype=np.float64)
    real = (pixels - np.asarray(mean, np.float64).reshape(3, 1)) * np.asarray(scale, np.float64).reshape(3, 1)
    if not np.isfinite(real).all():
        raise KernelError("mean or scale is not finite", hint="check the model's input in the manifest")
    if dtype == "float32":
        return real.astype(np.float32)
    if quantization is None or not quantization.scale > 0 or not np.isfinite(quantization.scale):
        raise KernelError(f"an {dtype} input needs a quantisation with a positive scale", hint="check the manifest")
    info = np.iinfo(dtype)
    quantized = np.rint(real / quantization.scale) + quantization.zero_point
    return np.asarray(np.clip(quantized, info.min, info.max), dtype)


class Target:
    """A model's image input, prepared: fg_target.

    Args:
        array: (H, W, 3) or (1, H, W, 3), float32, int8 or uint8: the engine's own input array.
        lut: (3, 256) of the same dtype, channels in the order of `color` (see `make_lut`).
        color: "RGB" or "BGR", the channel order of `array`.
    """

    __slots__ = ("_keep", "height", "struct", "width")

    def __init__(self, array: npt.NDArray[np.generic], lut: npt.NDArray[np.generic], color: str) -> None:
        _writable(array, "the input", *TYPES)
        _array(lut, "the table", array.dtype.name)
        shape = array.shape[1:] if array.ndim == 4 and array.shape[0] == 1 else array.shape  # noqa: PLR2004
        if len(shape) != 3 or shape[2] != 3 or lut.shape != (3, 256):  # noqa: PLR2004
            raise KernelError(
                f"an input of shape {array.shape} with a table of shape {lut.shape}",
                hint="an input is (H, W, 3) or (1, H, W, 3), a table (3, 256)",
            )
        self.height, self.width = int(shape[0]), int(shape[1])
        bgr = _name({"RGB": 0, "BGR": 1}, color, "color")
        data, table = ffi.from_buffer(array), ffi.from_buffer(lut)
        self._keep = (array, lut, data, table)
        self.struct: Any = ffi.new("fg_target *")
        self.struct.data, self.struct.size = data, array.nbytes
        self.struct.lut, self.struct.lut_size = table, lut.nbytes
        self.struct.width, self.struct.height = self.width, self.height
        self.struct.type, self.struct.bgr = TYPES[array.dtype.name], bgr


class _FrameRef:
    """An fg_frame that is pointed at one Frame after another."""

    __slots__ = ("_data", "struct")

    def __init__(self) -> None:
        self.struct: Any = ffi.new("fg_frame *")
        self._data: Any = None

    def set(self, frame: Frame) -> Any:
        data = _array(frame.data, "the frame", "uint8")
        struct = self.struct
        self._data = ffi.from_buffer("uint8_t[]", data)
        struct.data, struct.size = self._data, data.nbytes
        struct.width, struct.height = frame.stored_size
        struct.format, struct.rotation = frame.format, frame.rotation
        return struct

    def clear(self) -> None:
        """Keep no frame alive between calls."""
        self.struct.data = ffi.NULL
        self._data = None


class Letterbox:
    """fg_letterbox into one target. Scratch memory grows once when a frame of a new geometry comes."""

    __slots__ = ("_frame", "_geometry", "_path", "_scale", "_scratch", "_scratch_size", "target")

    def __init__(self, target: Target, path: str = "auto") -> None:
        self.target = target
        self._frame = _FrameRef()
        self._path = _name(PATHS, path, "path")
        self._scale: Any = ffi.new("double *")
        self._scratch: Any = ffi.NULL
        self._scratch_size = 0
        self._geometry: tuple[Any, ...] = ()

    def run(self, frame: Frame) -> float:
        """Fill the target from `frame`; returns the scale (a length in the frame times it is a length in the input).

        Raises:
            KernelError: the frame's size, format or rotation is wrong.
        """
        struct = self._frame.set(frame)
        try:
            geometry = (struct.width, struct.height, struct.format, struct.rotation)
            if geometry != self._geometry:
                size = ffi.new("size_t *")
                _check(lib.fg_letterbox_scratch(struct, self.target.struct, size), "letterbox")
                if size[0] > self._scratch_size:
                    self._scratch, self._scratch_size = ffi.new("uint8_t[]", size[0]), size[0]
                self._geometry = geometry
            status = lib.fg_letterbox(
                struct, self.target.struct, self._path, self._scratch, self._scratch_size, self._scale
            )
            _check(status, "letterbox")
        finally:
            self._frame.clear()
        return float(self._scale[0])


class Warp:
    """fg_warp into one target.

    Args:
        target: the model's input.
        border: what lies outside the frame: "black", "mirror" or "nearest".
        luma: uint8 (H, W) that receives the luma of the warped pixels, or None.
    """

    __slots__ = ("_border", "_frame", "_keep", "_luma", "_luma_size", "_path", "target")

    def __init__(
        self,
        target: Target,
        *,
        border: str = "black",
        luma: npt.NDArray[np.uint8] | None = None,
        path: str = "auto",
    ) -> None:
        self.target = target
        self._frame = _FrameRef()
        self._path = _name(PATHS, path, "path")
        self._border = _name(BORDERS, border, "border")
        self._keep = luma
        self._luma: Any = ffi.NULL
        self._luma_size = 0
        if luma is not None:
            if _writable(luma, "luma", "uint8").shape != (target.height, target.width):
                raise KernelError(f"luma has shape {luma.shape}", hint="it is (H, W) of the input")
            self._luma, self._luma_size = ffi.from_buffer("uint8_t[]", luma), luma.nbytes

    def run(self, frame: Frame, matrix: npt.NDArray[np.float64], samples: int = 1) -> None:
        """Fill the target: `matrix`, float64 (2, 3), takes input pixels to pixels of the upright frame.

        Raises:
            KernelError: the frame's geometry, the matrix or `samples` (1..8) is out of range.
        """
        if _array(matrix, "the matrix", "float64").shape != (2, 3):
            raise KernelError(f"a matrix of shape {matrix.shape}", hint="it is (2, 3)")
        try:
            status = lib.fg_warp(
                self._frame.set(frame),
                ffi.from_buffer("double[]", matrix),
                samples,
                self._border,
                self.target.struct,
                self._path,
                self._luma,
                self._luma_size,
            )
            _check(status, "warp")
        finally:
            self._frame.clear()


def similarity(
    src: npt.NDArray[np.float32],
    dst: npt.NDArray[np.float32],
    out: npt.NDArray[np.float64] | None = None,
) -> npt.NDArray[np.float64]:
    """fg_similarity: the matrix (2, 3) that takes points of `dst` (N, 2) to points of `src` (N, 2).

    Raises:
        KernelError: points that coincide, are not finite, or are not 2..64 pairs.
    """
    _array(src, "src", "float32")
    if _array(dst, "dst", "float32").shape != src.shape or src.ndim != 2 or src.shape[1] != 2:  # noqa: PLR2004
        raise KernelError(f"points of shape {src.shape} and {dst.shape}", hint="both are (N, 2)")
    matrix = np.empty((2, 3), np.float64) if out is None else _writable(out, "out", "float64")
    if matrix.shape != (2, 3):
        raise KernelError(f"out has shape {matrix.shape}", hint="it is (2, 3)")
    status = lib.fg_similarity(
        ffi.from_buffer("float[]", src), ffi.from_buffer("float[]", dst), len(src), ffi.from_buffer("double[]", matrix)
    )
    _check(status, "similarity")
    return matrix


class Tensor:
    """One output tensor of an engine, prepared: fg_tensor. `array` is the engine's own, float32, int8 or uint8."""

    __slots__ = ("_keep", "array", "struct")

    def __init__(self, array: npt.NDArray[np.generic], quantization: Quantization | None = None) -> None:
        _array(array, "a tensor", *TYPES)
        if array.dtype != np.float32 and quantization is None:
            raise KernelError("a quantised tensor without its quantisation", hint="check the manifest")
        self.array = array
        data = ffi.from_buffer(array)
        self._keep = data
        self.struct: Any = ffi.new("fg_tensor *")
        self.struct.data, self.struct.size = data, array.nbytes
        self.struct.type = TYPES[array.dtype.name]
        if quantization is not None:
            self.struct.scale, self.struct.zero_point = quantization.scale, quantization.zero_point


def _optional(tensor: Tensor | None) -> Any:
    return ffi.NULL if tensor is None else tensor.struct


class Faces:
    """fg_faces: a bounded list that heads decode into. `capacity` faces at most; the best-scoring ones stay."""

    __slots__ = ("_items", "_records", "struct")

    def __init__(self, capacity: int = 256) -> None:
        if not 1 <= capacity <= 65536:  # noqa: PLR2004
            raise KernelError(f"a capacity of {capacity}", hint="1 to 65536")
        self._records = np.zeros(capacity, FACE_DTYPE)
        self._items = ffi.from_buffer("fg_face[]", self._records)
        self.struct: Any = ffi.new("fg_faces *")
        self.struct.items, self.struct.capacity = self._items, capacity

    def __len__(self) -> int:
        return int(self.struct.count)

    @property
    def records(self) -> npt.NDArray[np.void]:
        """View of the faces, dtype FACE_DTYPE (box, landmarks, score, position); overwritten by the next frame."""
        return self._records[: self.struct.count]

    def clear(self) -> None:
        """Forget all faces: before the first head of a frame."""
        self.struct.count = self.struct.rows = 0

    def nms(self, iou: float, limit: int | None = None) -> int:
        """fg_nms: sort, suppress, keep at most `limit`; returns how many are left.

        Raises:
            KernelError: `iou` is not in 0..1 or `limit` is negative.
        """
        _check(lib.fg_nms(self.struct, iou, self.struct.capacity if limit is None else limit), "nms")
        return int(self.struct.count)

    def scale(self, factor: float) -> None:
        """fg_scale_faces: multiply boxes and landmarks (1 / scale of the letterbox leads to the frame)."""
        _check(lib.fg_scale_faces(self.struct, factor), "scale")


class ScrfdHead:
    """fg_decode_scrfd for one stride of an input of `width` x `height`."""

    __slots__ = ("_args", "_keep")

    def __init__(
        self,
        score: Tensor,
        box: Tensor,
        landmarks: Tensor | None,
        *,
        width: int,
        height: int,
        stride: int,
        anchors: int,
    ) -> None:
        self._keep = (score, box, landmarks)
        self._args = (score.struct, box.struct, _optional(landmarks), width, height, stride, anchors)

    def decode(self, faces: Faces, threshold: float) -> None:
        """Add the faces of score >= `threshold` (0..1). Raises KernelError if the tensors do not fit the geometry."""
        _check(lib.fg_decode_scrfd(*self._args, threshold, faces.struct), "decode SCRFD")


class YunetHead:
    """fg_decode_yunet for one stride of an input of `width` x `height`."""

    __slots__ = ("_args", "_keep")

    def __init__(
        self,
        score: Tensor,
        objectness: Tensor,
        box: Tensor,
        landmarks: Tensor | None,
        *,
        width: int,
        height: int,
        stride: int,
    ) -> None:
        self._keep = (score, objectness, box, landmarks)
        structs = (score.struct, objectness.struct, box.struct, _optional(landmarks))
        self._args = (*structs, width, height, stride)

    def decode(self, faces: Faces, threshold: float) -> None:
        """Add the faces of score >= `threshold` (0..1). Raises KernelError if the tensors do not fit the geometry."""
        _check(lib.fg_decode_yunet(*self._args, threshold, faces.struct), "decode YuNet")


class RetinafaceHead:
    """fg_decode_retinaface for an input of `width` x `height`; `min_sizes` has one sequence a stride."""

    __slots__ = ("_args", "_keep")

    def __init__(
        self,
        score: Tensor,
        box: Tensor,
        landmarks: Tensor | None,
        *,
        width: int,
        height: int,
        strides: Sequence[int],
        min_sizes: Sequence[Sequence[float]],
        variances: Sequence[float],
    ) -> None:
        if not 1 <= len(strides) == len(min_sizes) <= 8 or not all(1 <= len(s) <= 16 for s in min_sizes):  # noqa: PLR2004
            raise KernelError("strides and min_sizes do not fit", hint="1 to 8 strides, 1 to 16 sizes for each")
        priors = ffi.new("fg_priors *")
        priors.levels = len(strides)
        for level, (stride, sizes) in enumerate(zip(strides, min_sizes, strict=True)):
            priors.strides[level], priors.anchors[level] = stride, len(sizes)
            for anchor, size in enumerate(sizes):
                priors.min_sizes[level][anchor] = size
        priors.variances[0], priors.variances[1] = variances
        self._keep = (score, box, landmarks, priors)
        self._args = (score.struct, box.struct, _optional(landmarks), priors, width, height)

    def decode(self, faces: Faces, threshold: float) -> None:
        """Add the faces of score >= `threshold` (0..1). Raises KernelError if the tensors do not fit the geometry."""
        _check(lib.fg_decode_retinaface(*self._args, threshold, faces.struct), "decode RetinaFace")


class Embedding:
    """fg_template for one output tensor of a recogniser."""

    __slots__ = ("_tensor", "length")

    def __init__(self, tensor: Tensor) -> None:
        self._tensor = tensor
        self.length = int(tensor.array.size)

    def template(self, out: npt.NDArray[np.int8] | None = None) -> npt.NDArray[np.int8]:
        """The embedding as int8 (D,), its largest magnitude 127; into `out` if given.

        Raises:
            KernelError: the embedding is all zero or not finite.
        """
        data = np.empty(self.length, np.int8) if out is None else _writable(out, "out", "int8")
        _check(
            lib.fg_template(self._tensor.struct, ffi.from_buffer("int8_t[]", data, require_writable=True), data.size),
            "template",
        )
        return data


def norm(rows: npt.NDArray[np.int8], length: int, out: npt.NDArray[np.int32] | None = None) -> npt.NDArray[np.int32]:
    """fg_norm: the squared norms, int32 (N,), of the first `length` values of each row of `rows`, int8 (N, stride).

    Raises:
        KernelError: a row is all zero or holds -128.
    """
    if _array(rows, "rows", "int8").ndim != 2:  # noqa: PLR2004
        raise KernelError(f"rows have shape {rows.shape}", hint="they are (N, stride)")
    norms = np.empty(len(rows), np.int32) if out is None else _writable(out, "out", "int32")
    status = lib.fg_norm(
        ffi.from_buffer("int8_t[]", rows),
        rows.nbytes,
        rows.shape[1],
        length,
        len(rows),
        ffi.from_buffer("int32_t[]", norms),
        norms.nbytes,
    )
    _check(status, "norm")
    return norms


class Search:
    """fg_search over one gallery.

    Args:
        rows: int8 (capacity, stride); columns beyond `length` are padding.
        norms: int32 (capacity,), by `norm`.
        length: of a template.
        k: how many of the most similar rows to find, 1..1024.
        mask: uint8 (capacity,), 0 leaves a row out; or None.
        path: a name of PATHS.
    """

    __slots__ = ("_capacity", "_found", "_indices", "_keep", "_out", "_path", "_similarities", "k", "struct")

    def __init__(
        self,
        rows: npt.NDArray[np.int8],
        norms: npt.NDArray[np.int32],
        *,
        length: int,
        k: int,
        mask: npt.NDArray[np.uint8] | None = None,
        path: str = "auto",
    ) -> None:
        if _array(rows, "rows", "int8").ndim != 2 or _array(norms, "norms", "int32").shape != rows.shape[:1]:  # noqa: PLR2004
            raise KernelError(f"rows {rows.shape} and norms {norms.shape}", hint="(N, stride) and (N,)")
        if mask is not None and _array(mask, "mask", "uint8").shape != rows.shape[:1]:
            raise KernelError(f"a mask of shape {mask.shape}", hint="it is (N,)")
        if not 1 <= k <= MAX_K:
            raise KernelError(f"k = {k}", hint=f"1 to {MAX_K}")
        self.k = k
        self._path = _name(PATHS, path, "path")
        self._capacity = len(rows)
        self._found: Any = ffi.new("int *")
        self._indices = np.zeros(k, np.int32)
        self._similarities = np.zeros(k, np.float64)
        self._out = (ffi.from_buffer("int32_t[]", self._indices), ffi.from_buffer("double[]", self._similarities))
        self.struct: Any = ffi.new("fg_gallery *")
        self.struct.rows = data = ffi.from_buffer("int8_t[]", rows)
        self.struct.rows_size = rows.nbytes
        self.struct.norms = squares = ffi.from_buffer("int32_t[]", norms)
        self.struct.norms_size = norms.nbytes
        selected = ffi.NULL if mask is None else ffi.from_buffer("uint8_t[]", mask)
        self.struct.mask, self.struct.mask_size = selected, 0 if mask is None else mask.nbytes
        self.struct.stride, self.struct.length = rows.shape[1], length
        self._keep = (rows, norms, mask, data, squares, selected)

    def run(
        self, probe: npt.NDArray[np.int8], count: int | None = None
    ) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.float64]]:
        """The indices (found,) and similarities (found,), most similar first, of the first `count` rows.

        Both are views that the next run overwrites.

        Raises:
            KernelError: the probe is all zero, holds -128 or has another length; `count` is larger than the gallery.
        """
        _array(probe, "the probe", "int8")
        self.struct.count = self._capacity if count is None else count
        indices, similarities = self._out
        status = lib.fg_search(
            self.struct,
            ffi.from_buffer("int8_t[]", probe),
            probe.nbytes,
            self.k,
            self._path,
            indices,
            self._indices.nbytes,
            similarities,
            self._similarities.nbytes,
            self._found,
        )
        _check(status, "search")
        found = self._found[0]
        return self._indices[:found], self._similarities[:found]


def compare(a: npt.NDArray[np.int8], b: npt.NDArray[np.int8]) -> float:
    """fg_compare: the similarity (-1..1) of two templates. Raises KernelError if they are none or differ in length."""
    if _array(a, "a template", "int8").shape != _array(b, "a template", "int8").shape:
        raise KernelError("templates of different lengths", hint="compare templates of one template space")
    out = ffi.new("double *")
    _check(lib.fg_compare(ffi.from_buffer("int8_t[]", a), ffi.from_buffer("int8_t[]", b), a.size, out), "compare")
    return float(out[0])


class Quality:
    """fg_sharpness and fg_brightness of one luma plane, uint8 (H, W), that is overwritten from face to face."""

    __slots__ = ("_args", "_keep", "_out")

    def __init__(self, luma: npt.NDArray[np.uint8]) -> None:
        if _array(luma, "luma", "uint8").ndim != 2:  # noqa: PLR2004
            raise KernelError(f"luma has shape {luma.shape}", hint="it is (H, W)")
        self._keep = luma
        self._args = (ffi.from_buffer("uint8_t[]", luma), luma.nbytes, luma.shape[1], luma.shape[0])
        self._out: Any = ffi.new("double[3]")

    def sharpness(self) -> float:
        """Variance of the Laplacian, in levels squared, >= 0. Raises KernelError if H or W is below 3."""
        _check(lib.fg_sharpness(*self._args, self._out), "sharpness")
        return float(self._out[0])

    def brightness(self) -> tuple[float, float, float]:
        """Mean luma (0..255), share of under-exposed and of over-exposed pixels (0..1)."""
        _check(lib.fg_brightness(*self._args, self._out, self._out + 1, self._out + 2), "brightness")
        return float(self._out[0]), float(self._out[1]), float(self._out[2])


def pose(landmarks: npt.NDArray[np.float32]) -> tuple[float, float, float]:
    """fg_pose: yaw, pitch and roll in degrees from landmarks, float32 (5, 2).

    Raises:
        KernelError: landmarks that coincide or are not finite.
    """
    if _array(landmarks, "landmarks", "float32").shape != (5, 2):
        raise KernelError(f"landmarks of shape {landmarks.shape}", hint="they are (5, 2)")
    out = ffi.new("double[3]")
    _check(lib.fg_pose(ffi.from_buffer("float[]", landmarks), landmarks.nbytes, out), "pose")
    return float(out[0]), float(out[1]), float(out[2])
