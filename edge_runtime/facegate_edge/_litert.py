"""LiteRT through its C API, behind the `Engine` protocol. The library is found and loaded by `_litert_library`."""

from __future__ import annotations

import functools
import os
import threading
import weakref
from contextlib import ExitStack, contextmanager, suppress
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

from facegate_edge._litert_library import DISTRIBUTION, find_library, load
from facegate_edge._machine import glibc_version
from facegate_edge._manifest import Quantization, TensorInfo
from facegate_edge.errors import EngineError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from types import TracebackType

    import numpy as np
    import numpy.typing as npt
    from typing_extensions import Self

    from facegate_edge._litert_library import LiteRt

__all__ = ["DISTRIBUTION", "LiteRtEngine", "aligned_array", "find_library", "load"]

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
# tflite/delegates/xnnpack/xnnpack_delegate.h: QS8, QU8, FORCE_FP16, DYNAMIC_FULLY_CONNECTED. Giving any replaces the
# default ones; the others of these say nothing any more, and are complained about.
_FLOAT16_FLAGS = 0x1 | 0x2 | 0x4 | 0x8
_DELEGATE_LINE = b"INFO: Created TensorFlow Lite XNNPACK delegate for CPU.\n"


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
        float16: calculate in float16 where the model has floats. XNNPACK refuses it nowhere: on an ARM core that has
            no such arithmetic only the input is rounded; x86 converts to and fro, slower than float32. So ask for
            it only where the machine has the feature "fp16" (docs/targets.md has the figures).

    Raises:
        EngineUnavailableError: LiteRT cannot be used on this machine.
        EngineError: the model is refused.
    """

    name = "litert"

    def __init__(self, model: Any, *, threads: int = 1, float16: bool = False) -> None:
        if threads < 1:
            raise EngineError(f"{threads} threads cannot run a model", hint="threads is a number of at least 1")
        self._rt = load()
        with ExitStack() as stack:
            compiled = self._compile(stack, model, threads, float16=float16)
            self._allocate(stack, compiled)
            # LiteRT compiles a model with an unknown operator without a word: only a run shows it.
            self.run()
            owned = stack.pop_all()
        # Frees in the reverse order of creation: on close(), when the engine is collected, or at exit.
        self._release = weakref.finalize(self, owned.close)

    def _compile(self, stack: ExitStack, model: Any, threads: int, *, float16: bool) -> Any:
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
        self._set_xnnpack(options, threads, float16=float16)

        handle = ffi.new("LiteRtCompiledModel*")
        with _quiet(self._rt):
            status = lib.LiteRtCreateCompiledModel(environment, loaded, options, handle)
        _check(
            status,
            "compiling the model",
            hint="the model may use an operator that LiteRT does not have, or a damaged graph; convert it again",
        )
        stack.callback(lib.LiteRtDestroyCompiledModel, handle[0])
        return handle[0]

    def _set_xnnpack(self, options: Any, threads: int, *, float16: bool) -> None:
        """LiteRT exports no setters: the XNNPACK delegate reads its options as TOML from an opaque string.

        The keys are those of litert/runtime/litert_cpu_options.cc; one that it does not know is passed over in silence.
        The string is LiteRT's from then on, so it comes from malloc and is freed by free.
        """
        ffi, lib, libc = self._rt.ffi, self._rt.lib, self._rt.libc
        flags = f"flags = {_FLOAT16_FLAGS}\n" if float16 else ""
        text = f"num_threads = {threads}\n{flags}\0".encode()
        payload = libc.malloc(len(text))
        if payload == ffi.NULL:
            raise MemoryError
        ffi.memmove(payload, text, len(text))
        handle = ffi.new("LiteRtOpaqueOptions*")
        status = lib.LiteRtCreateOpaqueOptions(b"xnnpack", payload, ffi.addressof(libc, "free"), handle)
        if status:
            libc.free(payload)
        _check(status, "setting the options of XNNPACK")
        status = lib.LiteRtAddOpaqueOptions(options, handle[0])
        if status:
            lib.LiteRtDestroyOpaqueOptions(handle[0])
        _check(status, "setting the options of XNNPACK")

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


_greeting = threading.Lock()
_greeted = False


@contextmanager
def _quiet(rt: LiteRt) -> Iterator[None]:
    """Keep back the line with which TensorFlow Lite greets its first delegate; pass on whatever else is said.

    It is printed once a process, whatever severity is asked for, so a command's stderr would begin with it. While the
    first model is compiled, C's `stderr` is a stream in memory: Python's, and descriptor 2, stay what they are.
    """
    global _greeted
    with _greeting:
        first, _greeted = not _greeted, True
    told, stream = None, None
    if first and glibc_version() is not None:  # elsewhere `stderr` may be read-only
        # Never freed or closed, a few hundred bytes: another thread may have fetched the stream a moment ago, and the
        # C library flushes it when the process ends, after Python is gone.
        told = rt.ffi.cast("struct { char* text; size_t size; }*", rt.libc.malloc(2 * rt.ffi.sizeof("size_t")))
        if told:
            stream = rt.libc.open_memstream(rt.ffi.addressof(told, "text"), rt.ffi.addressof(told, "size"))
    if not told or not stream:
        yield
        return
    usual, rt.libc.stderr = rt.libc.stderr, stream
    try:
        yield
    finally:
        rt.libc.stderr = usual
        rt.libc.fflush(stream)
        said = rt.ffi.buffer(told.text, told.size)[:].replace(_DELEGATE_LINE, b"")
        if said:
            with suppress(OSError):
                os.write(2, said)
