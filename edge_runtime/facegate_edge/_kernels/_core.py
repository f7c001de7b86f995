"""What all bindings share: the names of the C side's numbers, statuses as errors, checked arrays."""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from facegate_edge._native import ffi, lib
from facegate_edge.errors import KernelError

BORDERS: Final = {"black": 0, "mirror": 1, "nearest": 2}
PATHS: Final = {"auto": 0, "scalar": 1, "avx2": 2, "avx512vnni": 3, "neon": 4, "dotprod": 5}
TYPES: Final = {"float32": 0, "int8": 1, "uint8": 2}
# dtype.name costs 6 us and some memory a call, and takes a byte-swapped type for the native one.
_NAMES: Final = {np.dtype(name): name for name in ("float32", "float64", "int8", "uint8", "int32")}
MAX_LENGTH: Final = 4096
MAX_K: Final = 1024

_HINTS = {
    -2: "the buffers must have exactly the sizes that the geometry asks for; see csrc/facegate.h",
    -3: "a value is outside its documented range, infinite or not a number",
    -4: "see csrc/facegate.h for the formats, rotations, types and borders there are",
    -5: "use an array that numpy or the engine allocated",
    -6: "the input determines no answer; drop it",
    -7: 'this machine has no such instructions; use path="auto"',
}


def check(status: int, what: str) -> None:
    """Turn a status that is not FG_OK into a KernelError."""
    if status:
        name = ffi.string(lib.fg_status_name(status)).decode()
        raise KernelError(f"{what}: {name}", hint=_HINTS.get(status, "see csrc/facegate.h"))


def checked(array: Any, what: str, *dtypes: str) -> Any:
    """`array` if it is a C-contiguous ndarray of one of `dtypes`; KernelError otherwise."""
    if not isinstance(array, np.ndarray) or _NAMES.get(array.dtype) not in dtypes or not array.flags.c_contiguous:
        raise KernelError(
            f"{what} is not a C-contiguous array of {' or '.join(dtypes)}",
            hint="use np.ascontiguousarray(array, dtype)",
        )
    return array


def writable(array: Any, what: str, *dtypes: str) -> Any:
    """Like `checked`, for an output."""
    if not checked(array, what, *dtypes).flags.writeable:
        raise KernelError(f"{what} is read-only", hint="pass an array that the kernel may write to")
    return array


def number_of(table: dict[str, int], name: str, what: str) -> int:
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
