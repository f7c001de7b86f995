"""tflite-runtime behind the `Engine` protocol: for 32-bit ARM, where LiteRT has no wheel.

The last tflite-runtime (2.14.0) was built against numpy 1 and breaks with numpy 2, although its metadata allows it.
Unlike LiteRT it does not check that a model is a sound flatbuffer: a truncated one can crash the process. Give it only
what a bundle's hash was checked for.
"""

from __future__ import annotations

import functools
import importlib
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from facegate_edge._manifest import Quantization, TensorInfo
from facegate_edge.errors import EngineError, EngineUnavailableError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType

    import numpy as np
    import numpy.typing as npt
    from typing_extensions import Self

DISTRIBUTION = "tflite-runtime"
_IDENTIFIER = b"TFL3"
_WANTED = "install tflite-runtime==2.14.0 with numpy<2 (Python 3.9 to 3.11)"


@functools.cache
def load() -> Any:
    """The class `tflite_runtime.interpreter.Interpreter`.

    Raises:
        EngineUnavailableError: it is not installed, or numpy is too new for it.
    """
    import numpy as np  # noqa: PLC0415 - importing this module must stay cheap

    if not np.__version__.startswith("1."):
        raise EngineUnavailableError(f"tflite-runtime does not work with numpy {np.__version__}", hint=_WANTED)
    try:
        module = importlib.import_module("tflite_runtime.interpreter")  # absent on most machines
    except ModuleNotFoundError:
        raise EngineUnavailableError("tflite-runtime is not installed", hint=_WANTED) from None
    except ImportError as e:
        raise EngineUnavailableError(
            "tflite-runtime cannot be loaded",
            hint=f"its ARM wheels need glibc 2.34 (Raspberry Pi OS 12 or newer); the loader says: {e}",
        ) from None
    return module.Interpreter


class _Borrowed:
    """Memory of an interpreter seen as an array, which keeps the interpreter alive for as long as itself.

    `Interpreter.tensor()` gives a view too, but then refuses to run while one exists.
    """

    def __init__(self, view: npt.NDArray[np.generic], owner: Any) -> None:
        self.__array_interface__ = view.__array_interface__
        self.owner = owner


class TfliteEngine:
    """A model run by tflite-runtime's interpreter; implements `Engine`.

    Args:
        model: the TFLite flatbuffer, any buffer. The interpreter takes `bytes` only: anything else is copied once.
        threads: number of CPU threads, at least 1.

    Raises:
        EngineUnavailableError: tflite-runtime cannot be used on this machine.
        EngineError: the model is refused.
    """

    name = "tflite"

    def __init__(self, model: Any, *, threads: int = 1, float16: bool = False) -> None:  # noqa: ARG002 - cannot be asked
        if threads < 1:
            raise EngineError(f"{threads} threads cannot run a model", hint="threads is a number of at least 1")
        interpreter_class = load()
        try:
            content = model if isinstance(model, bytes) else bytes(memoryview(model))
        except TypeError:
            raise EngineError(
                f"a model is the bytes of a TFLite file, not a {type(model).__name__}", hint="read the file first"
            ) from None
        if content[4:8] != _IDENTIFIER:
            raise EngineError(
                "reading the model failed: not a TFLite model",
                hint="these bytes are no intact TFLite model; convert it again",
            )
        try:
            interpreter = interpreter_class(model_content=content, num_threads=threads)
        except (ValueError, RuntimeError):
            raise EngineError(
                "reading the model failed: not a valid model",
                hint="these bytes are no intact TFLite model; convert it again",
            ) from None
        try:
            interpreter.allocate_tensors()
        except (ValueError, RuntimeError) as e:
            raise EngineError(f"compiling the model failed: {e}", hint="convert the model again") from None
        _refuse_miscalculated(interpreter)
        self._invoke = interpreter.invoke
        ins, outs = _details(interpreter)
        self.input_infos = tuple(_info(name, detail) for name, detail in ins.items())
        self.output_infos = tuple(_info(name, detail) for name, detail in outs.items())
        self.run()  # the delegate may move tensors in its first run
        self._inputs = MappingProxyType({n: _array(interpreter, d) for n, d in ins.items()})
        self._outputs = MappingProxyType({n: _array(interpreter, d) for n, d in outs.items()})

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
        try:
            self._invoke()
        except (ValueError, RuntimeError) as e:
            if isinstance(e, EngineError):
                raise
            raise EngineError(f"running the model failed: {e}") from None

    def close(self) -> None:
        """Give the interpreter back; it is freed when nobody holds an array of it any more."""
        self._invoke = _closed
        self._inputs = self._outputs = MappingProxyType({})

    def __enter__(self) -> Self:
        return self

    def __exit__(self, t: type[BaseException] | None, v: BaseException | None, tb: TracebackType | None) -> None:
        self.close()


def _closed() -> None:
    raise EngineError("the engine is closed", hint="make a new one")


def _details(interpreter: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """Inputs and outputs by their signature's names, or by their tensors' names if the model has no signature."""
    signatures = list(interpreter.get_signature_list())
    if signatures:
        runner = interpreter.get_signature_runner(signatures[0])
        return runner.get_input_details(), runner.get_output_details()
    return (
        {d["name"]: d for d in interpreter.get_input_details()},
        {d["name"]: d for d in interpreter.get_output_details()},
    )


def _refuse_miscalculated(interpreter: Any) -> None:
    """Refuse what tflite-runtime 2.14 calculates wrongly, without a word: one face would be like every other.

    A FULLY_CONNECTED whose input is float and whose int8 weights have a scale for each channel (precisions `dynamic`
    and `mixed`) is calculated with a scale of 0 there, so that its output is the bias alone. Convolutions are right.
    """
    import numpy as np  # noqa: PLC0415 - importing this module must stay cheap

    tensors = {detail["index"]: detail for detail in interpreter.get_tensor_details()}
    for operation in interpreter._get_ops_details():  # noqa: SLF001 - nothing public tells the operators
        if operation["op_name"] == "FULLY_CONNECTED":
            values, weights = (tensors[int(index)] for index in operation["inputs"][:2])
            scales = weights["quantization_parameters"]["scales"]
            if values["dtype"] is np.float32 and weights["dtype"] is np.int8 and len(scales) > 1:
                raise EngineError(
                    "tflite-runtime calculates this model wrongly: int8 weights of several scales behind float",
                    hint="convert it again with --precision float16, int8 or float32, or run it with LiteRT",
                )


def _info(name: str, detail: dict[str, Any]) -> TensorInfo:
    import numpy as np  # noqa: PLC0415 - importing this module must stay cheap

    shape = tuple(int(n) for n in detail["shape"])
    if any(n < 1 for n in shape) or any(n < 1 for n in detail["shape_signature"]):
        raise EngineError(f"tensor {name!r} has no fixed shape", hint="convert the model with a fixed input shape")
    parameters = detail["quantization_parameters"]
    quantization = None
    if len(parameters["scales"]) == 1:
        quantization = Quantization(float(parameters["scales"][0]), int(parameters["zero_points"][0]))
    return TensorInfo(name, shape, np.dtype(detail["dtype"]).name, quantization)


def _array(interpreter: Any, detail: dict[str, Any]) -> npt.NDArray[np.generic]:
    import numpy as np  # noqa: PLC0415 - importing this module must stay cheap

    return np.asarray(_Borrowed(interpreter.tensor(detail["index"])(), interpreter))
