"""Every error of the converter. The message says what is wrong, `hint` what to do about it."""

from __future__ import annotations

from facegate_edge import errors as edge_errors
from facegate_edge.errors import FacegateError

__all__ = [
    "AppError",
    "AttributesError",
    "BuildError",
    "CacheError",
    "CalibrationError",
    "CatalogueError",
    "ConvertError",
    "CropError",
    "DatasetChangedError",
    "DatasetError",
    "DriftError",
    "DynamicShapeError",
    "EndpointError",
    "EndpointRefusedError",
    "EndpointSetupError",
    "EndpointTrustError",
    "EvaluationError",
    "EvidenceError",
    "ExternalDataError",
    "FeatureError",
    "FetchError",
    "GateError",
    "InputSizeError",
    "InvalidGraphError",
    "LicenceError",
    "MeasureError",
    "ModelFileError",
    "ModelHashError",
    "NotOnnxError",
    "OutputFileError",
    "PackageBundleError",
    "PackageError",
    "PackageTargetError",
    "ParityError",
    "PartitionError",
    "PinError",
    "PinHashError",
    "ProhibitedModelError",
    "PullBusyError",
    "PullError",
    "PullRefusedError",
    "PullTrustError",
    "QuantizationError",
    "ResultError",
    "SecretFileError",
    "ServeError",
    "SizeError",
    "SpeedError",
    "TruncatedModelError",
    "UnknownFamilyError",
    "UnknownModelError",
    "UnrunnableModelError",
    "UnsupportedOperatorError",
    "UnsupportedOpsetError",
    "ViaError",
    "ViaMissingError",
    "WheelError",
    "WheelhouseError",
    "WorkerError",
]


class ConvertError(FacegateError):
    """Base of everything that can go wrong while a model is converted."""


class ModelFileError(ConvertError, OSError):
    """The model's file cannot be read: it is absent, a directory, or not permitted."""


class NotOnnxError(ConvertError, ValueError):
    """The bytes are not an ONNX model."""


class TruncatedModelError(ConvertError, EOFError):
    """An ONNX model that ends before its own lengths say it should."""


class ExternalDataError(ConvertError, OSError):
    """Weights are stored in another file that is absent, too short, or outside the model's directory."""


class UnsupportedOpsetError(ConvertError, ValueError):
    """The model uses an operator set version, or a domain, that the converter does not know."""


class DynamicShapeError(ConvertError, ValueError):
    """A dimension of the model is open and nothing says what it should be."""


class InputSizeError(ConvertError, ValueError):
    """The requested input size does not fit the model."""


class InvalidGraphError(ConvertError, ValueError):
    """The graph contradicts itself: shapes that do not fit, missing values, malformed attributes."""


class UnsupportedOperatorError(ConvertError, NotImplementedError):
    """An operator, or one of its forms, that cannot be lowered exactly.

    Attributes:
        operator: ONNX operator type, e.g. "Conv".
        node: the node's name in the model (its first output if it has none).
        reason: what about it is not supported.
    """

    def __init__(self, operator: str, node: str, reason: str, *, hint: str = "") -> None:
        super().__init__(
            f"operator {operator} (node {node!r}) cannot be converted: {reason}",
            hint=hint or "simplify the model before conversion, or cut the graph before this node",
        )
        self.operator = operator
        self.node = node
        self.reason = reason


class UnknownFamilyError(ConvertError, ValueError):
    """The graph is none of the model families that the runtime can feed and read, or could be several."""


class ProhibitedModelError(ConvertError, edge_errors.ProhibitedModelError):
    """The model infers gender, age, race or emotion; Facegate does not convert or run such models."""


class DatasetError(ConvertError, ValueError):
    """Photographs or a pairs file cannot be used: absent, unreadable, contradictory, too few."""


class CalibrationError(ConvertError, ValueError):
    """int8 was asked for without photographs that the model can be calibrated on."""


class QuantizationError(ConvertError, RuntimeError):
    """The quantizer failed on a model."""


class UnrunnableModelError(ConvertError, RuntimeError):
    """LiteRT refuses a model that was made, or ends the process that tries it."""


class MeasureError(ConvertError, RuntimeError):
    """The converted model, or its source, cannot be run for comparison."""


class GateError(ConvertError, RuntimeError):
    """A model was converted and did not pass a gate: it is refused.

    Attributes:
        gates: names of the gates that it failed.
        report: what the conversion found, None if it had not come that far.
    """

    exit_code = 1

    def __init__(self, message: str, *, hint: str = "", gates: tuple[str, ...] = (), report: object = None) -> None:
        super().__init__(message, hint=hint)
        self.gates = gates
        self.report = report


class ParityError(GateError, ArithmeticError):
    """The converted float32 model does not compute what its source computes."""


class DriftError(GateError):
    """The converted model decides otherwise than its source."""


class SizeError(GateError):
    """The model has more bytes than it was allowed."""


class SpeedError(GateError):
    """The converted model is slower than its target's profile allows."""


class PartitionError(GateError):
    """XNNPACK takes the converted model in more pieces than its float32 form, or leaves operators outside."""


class EvidenceError(GateError):
    """A gate was asked for strictly and could not be run, or too little was measured to tell."""


class OutputFileError(ConvertError, OSError):
    """A result cannot be written: no space, no permission, or the name is taken."""

    exit_code = 5


class BuildError(ConvertError, ValueError):
    """Models and figures that do not make a bundle."""


class AttributesError(DatasetError):
    """A file that states groups of people cannot be used: unreadable, contradictory, or about others."""


class DatasetChangedError(DatasetError):
    """Photographs are not those that a manifest names: changed, missing or new."""


class CacheError(ConvertError, OSError):
    """Templates cannot be kept: no space, no permission, or another run writes them right now."""

    exit_code = 5


class EvaluationError(ConvertError, ValueError):
    """What is to be evaluated, or how, makes no sense: nothing to compare, a check that names no figure."""


class ResultError(ConvertError, ValueError):
    """An evaluation's result cannot be read, or is not of what it is used for."""


class WorkerError(ConvertError, RuntimeError):
    """The processes that make templates cannot be started, or end again and again."""

    exit_code = 5


class CropError(ConvertError, ValueError):
    """A face crop is not what the hosted protocol sends: no PNG, damaged, too large, or no face's box."""


class EndpointSetupError(ConvertError, ValueError):
    """A hosted endpoint cannot be used as it was named: its address, token, certificate or accounts."""


class EndpointError(ConvertError, ConnectionError):
    """A hosted endpoint gave no answer; going on later may help."""

    exit_code = 5


class EndpointRefusedError(EndpointError):
    """A hosted endpoint refused a request, and would refuse it again."""

    exit_code = 3


class EndpointTrustError(EndpointError):
    """It cannot be proven that a hosted endpoint is the one that was named."""

    exit_code = 4


class FeatureError(ConvertError, ValueError):
    """A hosted endpoint's answer is not what the protocol says."""


class ServeError(ConvertError, OSError):
    """The server of the hosted protocol cannot be started: its address is taken, or not this machine's."""

    exit_code = 5


class CatalogueError(ConvertError, ValueError):
    """A catalogue of models cannot be read, or says something that makes no sense."""


class UnknownModelError(ConvertError, KeyError):
    """The catalogue has no such model."""

    __str__ = Exception.__str__  # a KeyError's own shows a quoted argument


class LicenceError(ConvertError, PermissionError):
    """The licence of a model was not accepted."""


class ModelHashError(ConvertError, ValueError):
    """A file is not the model that the catalogue names: its hash is another."""

    exit_code = 4


class PullError(ConvertError, ConnectionError):
    """A model cannot be fetched just now; what came is kept, and trying again may help."""

    exit_code = 5


class PullBusyError(PullError):
    """Another command is fetching the same model into the same folder."""


class PullRefusedError(PullError):
    """A server or folder does not have the model; trying again does not help."""

    exit_code = 3


class PullTrustError(PullError):
    """It cannot be proven that a server is the one that was named, or it sends elsewhere over an open line."""

    exit_code = 4


class ViaError(ConvertError, RuntimeError):
    """Another converter, asked for with --via, refused the model or failed on it."""


class ViaMissingError(ConvertError, ImportError):
    """Another converter, asked for with --via, is not installed where it is looked for."""

    exit_code = 5


class PackageError(ConvertError, ValueError):
    """A device package cannot be made."""


class PackageTargetError(PackageError):
    """No package can be made for this target or Python, or its devices refuse the bundle."""


class PackageBundleError(PackageError):
    """The bundle is not one that a device can decide with."""


class AppError(PackageError):
    """The folder of a program that is to go into a package cannot be taken as it is."""


class SecretFileError(AppError):
    """A key, a credential or a gate's data is among the files of a program that is to go into a package."""


class PinError(PackageError):
    """The pinned files of a package cannot be read, or are not to be had any more."""


class PinHashError(PackageError):
    """A file is not the pinned one: its hash is another."""

    exit_code = 4


class WheelError(PackageError):
    """A wheel is damaged, was changed, or is not what its name says."""


class WheelhouseError(PackageError):
    """Facegate's own wheel for a device is not there."""


class FetchError(ConvertError, ConnectionError):
    """A file cannot be fetched just now."""

    exit_code = 5
