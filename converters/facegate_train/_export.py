"""Nets as ONNX files: batch normalisation folded away, raw pixels in, marked as a demonstration."""

from __future__ import annotations

import copy
import io
import warnings
from typing import TYPE_CHECKING, Any

from facegate_convert._files import write_file
from facegate_train._loop import require_torch
from facegate_train.errors import MissingExtraError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

OPSET = 13
LICENCE = "Apache-2.0"
_SIDES = {"detector": 320, "recognizer": 112, "liveness": 80}
DOC = (
    "Facegate's reference {role}, a demonstration: trained on rendered faces only, it recognizes rendered faces only "
    "and is not for people. Input {color} {side}x{side}, {values}."
)


def export(role: str, net: Any, path: Path, facts: dict[str, str] | None = None) -> None:
    """Write a net as ONNX.

    Args:
        role: "detector", "recognizer" or "liveness".
        net: of that role, trained.
        path: the file.
        facts: further metadata, "facegate." before each key.

    Raises:
        MissingExtraError: onnx is not installed.
        OutputFileError: the file cannot be written.
    """
    torch = require_torch()
    try:
        import onnx  # noqa: PLC0415 - only export needs it
    except ImportError as error:
        raise MissingExtraError("onnx is not installed", hint="pip install 'facegate[train]'") from error
    model, outputs = plain(role, net)
    side = _SIDES[role]
    buffer = io.BytesIO()
    with warnings.catch_warnings(), torch.no_grad():
        # The newer exporter would need onnxscript, for graphs that this one writes as well.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            model,
            (torch.zeros(1, 3, side, side),),
            buffer,
            opset_version=OPSET,
            dynamo=False,
            input_names=["input"],
            output_names=list(outputs),
            do_constant_folding=True,
        )
    proto = onnx.load_from_string(buffer.getvalue())
    values = "(pixel - 127.5) / 127.5" if role == "recognizer" else "pixels 0..255"
    color = "RGB" if role == "recognizer" else "BGR"
    proto.doc_string = DOC.format(role=role, color=color, side=side, values=values)
    proto.producer_name, proto.producer_version = "facegate_train", ""
    proto.graph.name = f"facegate-reference-{role}"
    marks = {"demonstration": "true", "licence": LICENCE, **(facts or {})}
    del proto.metadata_props[:]
    for key in sorted(marks):
        entry = proto.metadata_props.add()
        entry.key, entry.value = f"facegate.{key}", marks[key]
    _shorten(proto.graph)
    onnx.checker.check_model(proto)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_file(path, [proto.SerializeToString(deterministic=True)])


def _shorten(graph: Any) -> None:
    """Drop the names of nodes, and number what flows between them: in a small file they are a tenth of it."""
    kept = {value.name for values in (graph.input, graph.output, graph.initializer) for value in values}
    short: dict[str, str] = {}
    for node in graph.node:
        node.ClearField("doc_string")
        node.ClearField("name")
        for names in (node.input, node.output):
            for place, name in enumerate(names):
                if name and name not in kept:
                    names[place] = short.setdefault(name, f"t{len(short)}")


def plain(role: str, net: Any) -> tuple[Any, Sequence[str]]:
    """(the net as it is exported, its outputs' names): what it computes from raw inputs is the same."""
    from facegate_train import _nets  # noqa: PLC0415 - needs torch

    torch = require_torch()
    net = _fold(copy.deepcopy(net).float().eval())
    net = net.to(memory_format=torch.contiguous_format)
    if role == "recognizer":
        return net, ("embedding",)
    first = net.stem[0][0] if role == "detector" else net.body[0][0]
    first.weight.data.mul_(_nets.PIXEL_SCALE)
    if role == "liveness":
        return net, ("logits",)
    return _detector_rows(net), _nets.names()


def _fold(module: Any) -> Any:
    """Batch normalisation folded into what it follows, everywhere."""
    torch = require_torch()
    fusion = torch.nn.utils.fusion
    for name, child in module.named_children():
        if isinstance(child, torch.nn.Sequential):
            setattr(module, name, _fold_sequence(child))
        else:
            _fold(child)
    if isinstance(getattr(module, "norm", None), torch.nn.BatchNorm1d):
        norm, linear = module.norm, module.embed
        norm.weight, norm.bias = (
            torch.nn.Parameter(torch.ones_like(norm.running_mean)),
            torch.nn.Parameter(torch.zeros_like(norm.running_mean)),
        )
        module.embed = fusion.fuse_linear_bn_eval(linear, norm)
        module.norm = torch.nn.Identity()
    return module


def _fold_sequence(sequence: Any) -> Any:
    torch = require_torch()
    layers: list[Any] = []
    for child in sequence:
        if isinstance(child, torch.nn.BatchNorm2d):
            layers[-1] = torch.nn.utils.fusion.fuse_conv_bn_eval(layers[-1], child)
        elif isinstance(child, torch.nn.Sequential):
            layers.append(_fold_sequence(child))
        else:
            layers.append(_fold(child))
    return torch.nn.Sequential(*layers)


def _detector_rows(net: Any) -> Any:
    """The detector with YuNet's twelve outputs (1, H * W, C), scores as probabilities.

    Each output has a convolution of its own: boxes and landmarks have other ranges, and at int8 other scales.
    """
    torch = require_torch()
    from facegate_train._nets import STRIDES, middle_of  # noqa: PLC0415 - needs torch

    class Rows(torch.nn.Module):  # type: ignore[name-defined,misc]
        def __init__(self) -> None:
            super().__init__()
            self.net = net
            self.parts = torch.nn.ModuleList(
                _slice(head, low, high)
                for head, low, high in ((net.score, 0, 1), (net.score, 1, 2), (net.place, 0, 4), (net.place, 4, 14))
            )
            # One convolution for all strides but for where a half's and a quarter's first pixel lies.
            middles = [middle_of(level) for level in range(len(STRIDES))]
            is_place = torch.tensor([1.0, 1.0, 0.0, 0.0]), torch.ones(10)  # a box's sides are no place
            self.places = torch.nn.ModuleList(
                torch.nn.ModuleList(_shifted(part, places * middle) for middle in middles)
                for part, places in zip(self.parts[2:], is_place, strict=True)
            )

        def forward(self, x: Any) -> Any:
            shared = [self.net.features(picture) for picture in self.net.pictures(x)]
            rows = []
            for part in self.parts[:2]:
                rows += [_rows(part(judged)).sigmoid() for judged, _ in shared]
            for parts in self.places:
                rows += [_rows(part(located)) for part, (_, located) in zip(parts, shared, strict=True)]
            return tuple(rows)

    return Rows().eval()


def _rows(values: Any) -> Any:
    """A map (N, C, H, W) as (N, H * W, C)."""
    return values.permute(0, 2, 3, 1).flatten(1, 2)


def _shifted(layer: Any, shift: Any) -> Any:
    """The same convolution, the same weights, and something added to what comes out."""
    torch = require_torch()
    other = copy.copy(layer)
    other._parameters = dict(layer._parameters)  # noqa: SLF001 - the weights are shared, the bias is not
    other.bias = torch.nn.Parameter(layer.bias.detach() + shift)
    return other


def _slice(layer: Any, low: int, high: int) -> Any:
    """The convolution that computes some of a convolution's channels."""
    torch = require_torch()
    part = torch.nn.Conv2d(layer.in_channels, high - low, 1)
    part.weight.data.copy_(layer.weight.data[low:high])
    part.bias.data.copy_(layer.bias.data[low:high])
    return part
