"""Embeddings into templates, templates into similarities."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from facegate_edge._kernels._core import MAX_K, PATHS, check, checked, number_of, writable
from facegate_edge._native import ffi, lib
from facegate_edge.errors import KernelError

if TYPE_CHECKING:
    import numpy.typing as npt

    from facegate_edge._kernels._faces import Tensor


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
        data = np.empty(self.length, np.int8) if out is None else writable(out, "out", "int8")
        check(
            lib.fg_template(self._tensor.struct, ffi.from_buffer("int8_t[]", data, require_writable=True), data.size),
            "template",
        )
        return data


def norm(rows: npt.NDArray[np.int8], length: int, out: npt.NDArray[np.int32] | None = None) -> npt.NDArray[np.int32]:
    """fg_norm: the squared norms, int32 (N,), of the first `length` values of each row of `rows`, int8 (N, stride).

    Raises:
        KernelError: a row is all zero or holds -128.
    """
    if checked(rows, "rows", "int8").ndim != 2:  # noqa: PLR2004
        raise KernelError(f"rows have shape {rows.shape}", hint="they are (N, stride)")
    norms = np.empty(len(rows), np.int32) if out is None else writable(out, "out", "int32")
    status = lib.fg_norm(
        ffi.from_buffer("int8_t[]", rows),
        rows.nbytes,
        rows.shape[1],
        length,
        len(rows),
        ffi.from_buffer("int32_t[]", norms),
        norms.nbytes,
    )
    check(status, "norm")
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
        if checked(rows, "rows", "int8").ndim != 2 or checked(norms, "norms", "int32").shape != rows.shape[:1]:  # noqa: PLR2004
            raise KernelError(f"rows {rows.shape} and norms {norms.shape}", hint="(N, stride) and (N,)")
        if mask is not None and checked(mask, "mask", "uint8").shape != rows.shape[:1]:
            raise KernelError(f"a mask of shape {mask.shape}", hint="it is (N,)")
        if not 1 <= k <= MAX_K:
            raise KernelError(f"k = {k}", hint=f"1 to {MAX_K}")
        self.k = k
        self._path = number_of(PATHS, path, "path")
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
        checked(probe, "the probe", "int8")
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
        check(status, "search")
        found = self._found[0]
        return self._indices[:found], self._similarities[:found]


def compare(a: npt.NDArray[np.int8], b: npt.NDArray[np.int8]) -> float:
    """fg_compare: the similarity (-1..1) of two templates. Raises KernelError if they are none or differ in length."""
    if checked(a, "a template", "int8").shape != checked(b, "a template", "int8").shape:
        raise KernelError("templates of different lengths", hint="compare templates of one template space")
    out = ffi.new("double *")
    check(lib.fg_compare(ffi.from_buffer("int8_t[]", a), ffi.from_buffer("int8_t[]", b), a.size, out), "compare")
    return float(out[0])
