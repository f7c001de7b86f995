"""Finding and loading LiteRT's shared library, and the C declarations of what is used of it.

ABI-mode cffi on the `libLiteRt.so` that the ai-edge-litert wheel carries. The package itself is never imported (that
would drag in protobuf and more); the shared library alone runs models, and its C API is the same on x86_64 and aarch64.
The declarations are those of LiteRT 2.1.6 to 2.3; before 2.1.6 the functions that make a model had no environment
argument, so older libraries are refused, not tried.
"""

from __future__ import annotations

import functools
import os
from pathlib import Path
from typing import Any, NamedTuple

from facegate_edge.errors import EngineUnavailableError

DISTRIBUTION = "ai-edge-litert"
OLDEST = (2, 1, 6)
TOO_NEW = (2, 4)

_CDEF = """
typedef struct LiteRtEnvironmentT* LiteRtEnvironment;
typedef struct LiteRtModelT* LiteRtModel;
typedef struct LiteRtSignatureT* LiteRtSignature;
typedef struct LiteRtTensorT* LiteRtTensor;
typedef struct LiteRtOptionsT* LiteRtOptions;
typedef struct LiteRtOpaqueOptionsT* LiteRtOpaqueOptions;
typedef struct LiteRtCompiledModelT* LiteRtCompiledModel;
typedef struct LiteRtTensorBufferT* LiteRtTensorBuffer;
typedef struct LiteRtTensorBufferRequirementsT* LiteRtTensorBufferRequirements;

typedef struct { int type; union { bool b; int64_t i; double r; const void* p; } value; } LiteRtAny;
typedef struct { int tag; LiteRtAny value; } LiteRtEnvOption;
typedef struct { unsigned rank : 7, has_strides : 1; int32_t dimensions[8]; uint32_t strides[8]; } LiteRtLayout;
typedef struct { int element_type; LiteRtLayout layout; } LiteRtRankedTensorType;
typedef struct { float scale; int64_t zero_point; } LiteRtQuantizationPerTensor;

int LiteRtCreateEnvironment(int, const LiteRtEnvOption*, LiteRtEnvironment*);
void LiteRtDestroyEnvironment(LiteRtEnvironment);
int LiteRtCreateModelFromBuffer(LiteRtEnvironment, const void*, size_t, LiteRtModel*);
void LiteRtDestroyModel(LiteRtModel);
int LiteRtGetModelSignature(LiteRtModel, size_t, LiteRtSignature*);
int LiteRtGetNumSignatureInputs(LiteRtSignature, size_t*);
int LiteRtGetNumSignatureOutputs(LiteRtSignature, size_t*);
int LiteRtGetSignatureInputName(LiteRtSignature, size_t, const char**);
int LiteRtGetSignatureOutputName(LiteRtSignature, size_t, const char**);
int LiteRtGetSignatureInputTensorByIndex(LiteRtSignature, size_t, LiteRtTensor*);
int LiteRtGetSignatureOutputTensorByIndex(LiteRtSignature, size_t, LiteRtTensor*);
int LiteRtGetRankedTensorType(LiteRtTensor, LiteRtRankedTensorType*);
int LiteRtGetQuantizationTypeId(LiteRtTensor, int*);
int LiteRtGetPerTensorQuantization(LiteRtTensor, LiteRtQuantizationPerTensor*);
int LiteRtCreateOptions(LiteRtOptions*);
void LiteRtDestroyOptions(LiteRtOptions);
int LiteRtSetOptionsHardwareAccelerators(LiteRtOptions, int);
int LiteRtCreateOpaqueOptions(const char*, void*, void (*)(void*), LiteRtOpaqueOptions*);
void LiteRtDestroyOpaqueOptions(LiteRtOpaqueOptions);
int LiteRtAddOpaqueOptions(LiteRtOptions, LiteRtOpaqueOptions);
int LiteRtCreateCompiledModel(LiteRtEnvironment, LiteRtModel, LiteRtOptions, LiteRtCompiledModel*);
void LiteRtDestroyCompiledModel(LiteRtCompiledModel);
int LiteRtGetCompiledModelInputBufferRequirements(LiteRtCompiledModel, size_t, size_t,
                                                  LiteRtTensorBufferRequirements*);
int LiteRtGetCompiledModelOutputBufferRequirements(LiteRtCompiledModel, size_t, size_t,
                                                   LiteRtTensorBufferRequirements*);
int LiteRtGetTensorBufferRequirementsBufferSize(LiteRtTensorBufferRequirements, size_t*);
int LiteRtCreateTensorBufferFromHostMemory(const LiteRtRankedTensorType*, void*, size_t, void (*)(void*),
                                           LiteRtTensorBuffer*);
void LiteRtDestroyTensorBuffer(LiteRtTensorBuffer);
int LiteRtRunCompiledModel(LiteRtCompiledModel, size_t, size_t, LiteRtTensorBuffer*, size_t, LiteRtTensorBuffer*);
"""

# Of the C library. In glibc `stderr` is a variable that may be assigned to (manual, "Standard Streams").
_LIBC_CDEF = """
typedef struct _IO_FILE FILE;
extern FILE* stderr;
void* malloc(size_t);
void free(void*);
int fflush(FILE*);
FILE* open_memstream(char**, size_t*);
"""


class LiteRt(NamedTuple):
    """The loaded library and what it came from."""

    ffi: Any
    lib: Any
    libc: Any
    path: Path
    version: str


def _version_tuple(version: str) -> tuple[int, ...]:
    """The leading numbers of a version: "2.3.0rc1" -> (2, 3, 0)."""
    numbers = []
    for part in version.split(".")[:3]:
        digits = part[: len(part) - len(part.lstrip("0123456789"))]
        if not digits:
            break
        numbers.append(int(digits))
    return tuple(numbers)


def find_library() -> tuple[Path, str]:
    """Where the library is and its version, without loading it or importing its package.

    Raises:
        EngineUnavailableError: the package is not installed, has no library, or is of a version that is not supported.
    """
    from importlib import metadata, util  # noqa: PLC0415 - costs 10 ms, needed once

    wanted = "install ai-edge-litert>=2.1.6,<2.4 (wheels exist for Linux on x86_64 and aarch64)"
    spec = util.find_spec("ai_edge_litert")
    if spec is None or spec.origin is None:
        raise EngineUnavailableError("LiteRT is not installed", hint=wanted)
    path = Path(spec.origin).with_name("libLiteRt.so")
    try:
        version = metadata.version(DISTRIBUTION)
    except metadata.PackageNotFoundError:
        raise EngineUnavailableError("LiteRT is there but says no version", hint=wanted) from None
    if not OLDEST <= _version_tuple(version) < TOO_NEW:
        raise EngineUnavailableError(f"LiteRT {version} has another C interface than the one that is used", hint=wanted)
    if not path.is_file():
        raise EngineUnavailableError(f"ai-edge-litert {version} carries no libLiteRt.so", hint=wanted)
    return path, version


def _explain_load_failure(text: str) -> EngineUnavailableError:
    """What the loader says, as something that a person can act on."""
    if "GLIBC_" in text or "GLIBCXX_" in text:
        return EngineUnavailableError(
            "this system's C or C++ library is too old for LiteRT",
            hint="LiteRT needs GLIBC_2.34 and GLIBCXX_3.4.30: Raspberry Pi OS 12, Debian 12, Ubuntu 22.04, JetPack 6 "
            "or newer; on an older system install tflite-runtime 2.14.0 with numpy<2",
        )
    if "wrong ELF class" in text or "invalid ELF header" in text:
        return EngineUnavailableError(
            "the installed LiteRT is for another processor", hint="reinstall ai-edge-litert on this very machine"
        )
    return EngineUnavailableError("LiteRT's library cannot be loaded", hint=f"the loader says: {text}")


@functools.cache
def load() -> LiteRt:
    """Load the library, once a process.

    Raises:
        EngineUnavailableError: see `find_library`; or the loader refused (glibc or libstdc++ too old).
    """
    path, version = find_library()
    from cffi import FFI  # type: ignore[import-untyped]  # noqa: PLC0415 - costs 20 ms, needed once

    ffi = FFI()
    ffi.cdef(_CDEF)
    ffi.cdef(_LIBC_CDEF)
    try:
        # NODELETE: some versions crash when they are unloaded, which cffi would do while the interpreter exits.
        lib = ffi.dlopen(str(path), os.RTLD_NOW | os.RTLD_LOCAL | os.RTLD_NODELETE)
    except OSError as e:
        raise _explain_load_failure(str(e)) from None
    return LiteRt(ffi, lib, ffi.dlopen(None), path, version)
