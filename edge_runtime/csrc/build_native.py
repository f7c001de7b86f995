"""The cffi builder of `facegate_edge._native`: the C kernels in API mode for the stable ABI.

Read by setuptools (`cffi_modules` in setup.py), with the repository root as the working directory. Environment:

- FACEGATE_WERROR=1: warnings are errors (CI; never a user's build, whose compiler may be newer than ours).
- FACEGATE_SANITIZE=1: build for AddressSanitizer and UndefinedBehaviorSanitizer (see sanitize.sh).
"""

from __future__ import annotations

import os
from pathlib import Path

import cffi

CSRC = Path("edge_runtime/csrc")
SOURCES = ("pixels.c", "letterbox.c", "warp.c", "faces.c", "search.c", "quality.c")

flags = [
    "-std=c11",
    "-O3",
    "-g0",
    "-fvisibility=hidden",
    "-ffp-contract=off",  # an FMA would round differently from machine to machine
    "-fno-math-errno",
    "-Wall",
    "-Wextra",
    "-Wno-unused-parameter",  # cffi's own code
]
link: list[str] = []
if os.environ.get("FACEGATE_WERROR") == "1":
    flags.append("-Werror")
if os.environ.get("FACEGATE_SANITIZE") == "1":
    link = ["-fsanitize=address,undefined"]
    flags += [*link, "-fno-sanitize-recover=undefined", "-fno-omit-frame-pointer", "-g", "-O1"]

header = (CSRC / "facegate.h").read_text(encoding="utf-8")

ffibuilder = cffi.FFI()
ffibuilder.cdef("\n".join(line for line in header.splitlines() if not line.startswith("#")))
ffibuilder.set_source(
    "facegate_edge._native",
    '#include "facegate.h"',
    include_dirs=[str(CSRC)],
    sources=[str(CSRC / name) for name in SOURCES],
    depends=[str(CSRC / name) for name in ("facegate.h", "internal.h", "pixels.h", "vector.h")],
    libraries=["m"],
    extra_compile_args=flags,
    extra_link_args=link,
    py_limited_api=True,
)

if __name__ == "__main__":
    ffibuilder.compile(verbose=True)
