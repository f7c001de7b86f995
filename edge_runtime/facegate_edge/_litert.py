"""LiteRT through its C API: ABI-mode cffi on the `libLiteRt.so` that the ai-edge-litert wheel carries.

The package itself is never imported (that would drag in protobuf and more); the shared library alone runs models, and
its C API is the same on x86_64 and aarch64. The declarations below are those of LiteRT 2.1.6 to 2.3; before 2.1.6 the
functions that make a model had no environment argument, so older libraries are refused, not tried.
"""

from __future__ import annotations

import functools
import os
import weakref
from contextlib import ExitStack
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

from facegate_edge._manifest import Quantization, TensorInfo
from facegate_edge.errors import EngineError, EngineUnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from types import TracebackType

    import numpy as np
    import numpy.typing as npt
    from typing_extensions import Self

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

_LIBC_CDEF = """
void* malloc(size_t);
void free(void*);
"""

# litert/c/litert_common.h
_STATUS = {
    1: "invalid argument",
    2: "out of memory",
    3: "runtime failure",
    4: "missing input tensor",
    5: "unsupported",
    6: "not found",
    8: "wrong version",
    500: "file cannot be read",
    501: "not a valid model",
    502: "dynamic loading failed",
    504: "compilation failed",
}
_ELEMENT_TYPES = {
    1: "float32",
    2: "int32",
    3: "uint8",
    4: "int64",
    6: "bool",
    7: "int16",
    9: "int8",
    10: "float16",
}
_PER_TENSOR = 1
_CPU = 1
_ANY_INT = 2
_OPTION_AUTO_REGISTER = 24
_OPTION_MIN_LOG_SEVERITY = 25
_LOG_SILENT_BELOW_ERROR = 4
_ALIGNMENT = 64
# XNNPACK's kernels may read (never write) up to 128 bytes past the end of what they are given.
_SLACK = 128
# A flatbuffer aligns its tensors to 16 bytes within itself, so it must start on such a boundary to be run in place.
_MODEL_ALIGNMENT = 16


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


def _check(status: int, doing: str, *, hint: str = "") -> None:
    if status:
        raise EngineError(
            f"{doing} failed: {_STATUS.get(status, 'unknown reason')} (LiteRT status {status})", hint=hint
        )


def aligned_array(shape: tuple[int, ...], dtype: str, nbytes: int) -> npt.NDArray[np.generic]:
    """A zeroed array on a 64-byte boundary, backed by at least `nbytes` bytes and some slack behind them."""
    import numpy as np  # noqa: PLC0415 - importing this module must stay cheap

    kind = np.dtype(dtype)
    count = 1
    for n in shape:
        count *= n
    memory = np.zeros(max(nbytes, count * kind.itemsize) + _ALIGNMENT + _SLACK, np.uint8)
    start = -memory.ctypes.data % _ALIGNMENT
    return memory[start : start + count * kind.itemsize].view(kind).reshape(shape)


class _Tensor(NamedTuple):
    """One tensor of the signature: what it is, and LiteRT's own description of it."""

    info: TensorInfo
    type: Any


class LiteRtEngine:
    """A model compiled by LiteRT for the CPU; implements `Engine`.

    Args:
        model: the TFLite flatbuffer, any buffer. It is run in place if it starts on a 16-byte boundary (a bundle's
            members do), and it is held until `close()`.
        threads: number of CPU threads, at least 1.

    Raises:
        EngineUnavailableError: LiteRT cannot be used on this machine.
        EngineError: the model is refused.
    """

    name = "litert"

    def __init__(self, model: Any, *, threads: int = 1) -> None:
        if threads < 1:
            raise EngineError(f"{threads} threads cannot run a model", hint="threads is a number of at least 1")
        self._rt = load()
        with ExitStack() as stack:
            compiled = self._compile(stack, model, threads)
            self._allocate(stack, compiled)
            # LiteRT compiles a model with an unknown operator without a word: only a run shows it.
            self.run()
            owned = stack.pop_all()
        # Frees in the reverse order of creation: on close(), when the engine is collected, or at exit.
        self._release = weakref.finalize(self, owned.close)

    def _compile(self, stack: ExitStack, model: Any, threads: int) -> Any:
        ffi, lib = self._rt.ffi, self._rt.lib
        data = _in_place(ffi, model)
        stack.callback(ffi.release, data)

        quiet = ffi.new("LiteRtEnvOption[2]")
        for option, (tag, value) in zip(
            quiet, ((_OPTION_MIN_LOG_SEVERITY, _LOG_SILENT_BELOW_ERROR), (_OPTION_AUTO_REGISTER, 1)), strict=True
        ):
            option.tag, option.value.type, option.value.value.i = tag, _ANY_INT, value
        handle = ffi.new("LiteRtEnvironment*")
        _check(lib.LiteRtCreateEnvironment(len(quiet), quiet, handle), "starting LiteRT")
        environment = handle[0]
        stack.callback(lib.LiteRtDestroyEnvironment, environment)

        handle = ffi.new("LiteRtModel*")
        _check(
            lib.LiteRtCreateModelFromBuffer(environment, data, len(data), handle),
            "reading the model",
            hint="these bytes are no intact TFLite model; convert it again",
        )
        loaded = handle[0]
        stack.callback(lib.LiteRtDestroyModel, loaded)
        self._tensors(loaded)

        handle = ffi.new("LiteRtOptions*")
        _check(lib.LiteRtCreateOptions(handle), "making LiteRT's options")
        options = handle[0]
        stack.callback(lib.LiteRtDestroyOptions, options)
        _check(lib.LiteRtSetOptionsHardwareAccelerators(options, _CPU), "choosing the CPU")
        self._set_threads(options, threads)

        handle = ffi.new("LiteRtCompiledModel*")
        _check(
            lib.LiteRtCreateCompiledModel(environment, loaded, options, handle),
            "compiling the model",
            hint="the model may use an operator that LiteRT does not have, or a damaged graph; convert it again",
        )
        stack.callback(lib.LiteRtDestroyCompiledModel, handle[0])
        return handle[0]

    def _set_threads(self, options: Any, threads: int) -> None:
        """LiteRT exports no setter: the XNNPACK delegate reads its options as TOML from an opaque string.

        The string is LiteRT's from then on, so it comes from malloc and is freed by free.
        """
        ffi, lib, libc = self._rt.ffi, self._rt.lib, self._rt.libc
        text = f"num_threads = {threads}\n\0".encode()
        payload = libc.malloc(len(text))
        if payload == ffi.NULL:
            raise MemoryError
        ffi.memmove(payload, text, len(text))
        handle = ffi.new("LiteRtOpaqueOptions*")
        status = lib.LiteRtCreateOpaqueOptions(b"xnnpack", payload, ffi.addressof(libc, "free"), handle)
        if status:
            libc.free(payload)
        _check(status, "setting the number of threads")
        status = lib.LiteRtAddOpaqueOptions(options, handle[0])
        if status:
            lib.LiteRtDestroyOpaqueOptions(handle[0])
        _check(status, "setting the number of threads")

    def _tensors(self, model: Any) -> None:
        """Read the first signature: names, shapes, types and quantisation of inputs and outputs."""
        ffi, lib = self._rt.ffi, self._rt.lib
        handle = ffi.new("LiteRtSignature*")
        _check(lib.LiteRtGetModelSignature(model, 0, handle), "reading the model's signature")
        signature = handle[0]
        count = ffi.new("size_t*")
        name = ffi.new("const char**")
        tensor = ffi.new("LiteRtTensor*")

        def read(get_count: Any, get_name: Any, get_tensor: Any) -> tuple[_Tensor, ...]:
            _check(get_count(signature, count), "reading the model's signature")
            found = []
            for i in range(count[0]):
                _check(get_name(signature, i, name), "reading a tensor's name")
                _check(get_tensor(signature, i, tensor), "reading a tensor")
                found.append(self._tensor(ffi.string(name[0]).decode(errors="replace"), tensor[0]))
            return tuple(found)

        self._ins = read(
            lib.LiteRtGetNumSignatureInputs,
            lib.LiteRtGetSignatureInputName,
            lib.LiteRtGetSignatureInputTensorByIndex,
        )
        self._outs = read(
            lib.LiteRtGetNumSignatureOutputs,
            lib.LiteRtGetSignatureOutputName,
            lib.LiteRtGetSignatureOutputTensorByIndex,
        )
        if not self._ins or not self._outs:
            raise EngineError("the model has no inputs or no outputs", hint="convert it again")
        self.input_infos = tuple(t.info for t in self._ins)
        self.output_infos = tuple(t.info for t in self._outs)

    def _tensor(self, name: str, tensor: Any) -> _Tensor:
        ffi, lib = self._rt.ffi, self._rt.lib
        kind = ffi.new("LiteRtRankedTensorType*")
        _check(lib.LiteRtGetRankedTensorType(tensor, kind), f"reading the shape of {name!r}")
        shape = tuple(kind.layout.dimensions[0 : kind.layout.rank])
        if any(n < 1 for n in shape):
            raise EngineError(f"tensor {name!r} has no fixed shape", hint="convert the model with a fixed input shape")
        dtype = _ELEMENT_TYPES.get(kind.element_type)
        if dtype is None:
            raise EngineError(f"tensor {name!r} has an element type that is not supported ({kind.element_type})")
        scheme = ffi.new("int*")
        _check(lib.LiteRtGetQuantizationTypeId(tensor, scheme), f"reading the quantisation of {name!r}")
        quantization = None
        if scheme[0] == _PER_TENSOR:
            q = ffi.new("LiteRtQuantizationPerTensor*")
            _check(lib.LiteRtGetPerTensorQuantization(tensor, q), f"reading the quantisation of {name!r}")
            quantization = Quantization(q.scale, q.zero_point)
        return _Tensor(TensorInfo(name, shape, dtype, quantization), kind)

    def _allocate(self, stack: ExitStack, compiled: Any) -> None:
        """Give every input and output its memory, and prepare all that `run()` passes on."""
        ffi, lib = self._rt.ffi, self._rt.lib
        requirements = ffi.new("LiteRtTensorBufferRequirements*")
        size = ffi.new("size_t*")
        handle = ffi.new("LiteRtTensorBuffer*")

        def buffers(tensors: tuple[_Tensor, ...], get_requirements: Any) -> tuple[Any, dict[str, Any]]:
            handles = ffi.new("LiteRtTensorBuffer[]", len(tensors))
            arrays = {}
            for i, (info, kind) in enumerate(tensors):
                doing = f"making the buffer of {info.name!r}"
                _check(get_requirements(compiled, 0, i, requirements), doing)
                _check(lib.LiteRtGetTensorBufferRequirementsBufferSize(requirements[0], size), doing)
                array = aligned_array(info.shape, info.dtype, size[0])
                if size[0] < array.nbytes:
                    raise EngineError(f"{doing} failed: LiteRT plans fewer bytes than the tensor has")
                memory = ffi.cast("void*", array.ctypes.data)
                _check(lib.LiteRtCreateTensorBufferFromHostMemory(kind, memory, size[0], ffi.NULL, handle), doing)
                handles[i] = handle[0]
                # The callback's arguments keep the memory alive for exactly as long as LiteRT holds its address.
                stack.callback(_destroy_buffer, lib, handle[0], array)
                arrays[info.name] = array
            return handles, arrays

        ins, inputs = buffers(self._ins, lib.LiteRtGetCompiledModelInputBufferRequirements)
        outs, outputs = buffers(self._outs, lib.LiteRtGetCompiledModelOutputBufferRequirements)
        self._inputs = MappingProxyType(inputs)
        self._outputs = MappingProxyType(outputs)
        self._run: Callable[[], int] = functools.partial(
            lib.LiteRtRunCompiledModel, compiled, 0, len(ins), ins, len(outs), outs
        )

    @property
    def inputs(self) -> Mapping[str, npt.NDArray[np.generic]]:
        """Input arrays by signature name."""
        return self._inputs

    @property
    def outputs(self) -> Mapping[str, npt.NDArray[np.generic]]:
        """Output arrays by signature name."""
        return self._outputs

    def run(self) -> None:
        """Run the model once on what `inputs` hold. Raises EngineError, also after `close()`."""
        status = self._run()
        if status:
            _check(status, "running the model", hint="the model may use an operator that LiteRT does not have")

    def close(self) -> None:
        """Free everything that LiteRT holds; a second call does nothing. The arrays stay readable."""
        self._run = _closed
        self._release()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, t: type[BaseException] | None, v: BaseException | None, tb: TracebackType | None) -> None:
        self.close()


def _destroy_buffer(lib: Any, handle: Any, _memory: npt.NDArray[np.generic]) -> None:
    lib.LiteRtDestroyTensorBuffer(handle)


def _closed() -> int:
    raise EngineError("the engine is closed", hint="make a new one")


def _in_place(ffi: Any, model: Any) -> Any:
    """The model's bytes as C sees them: its own memory, or an aligned copy if it starts on an odd address."""
    try:
        data = ffi.from_buffer(model)
    except (TypeError, BufferError):
        raise EngineError(
            f"a model is the bytes of a TFLite file, not a {type(model).__name__}", hint="read the file first"
        ) from None
    if int(ffi.cast("uintptr_t", data)) % _MODEL_ALIGNMENT == 0:
        return data
    copy = aligned_array((len(data),), "uint8", len(data))
    ffi.memmove(ffi.from_buffer(copy), data, len(data))
    ffi.release(data)
    return ffi.from_buffer(copy)
