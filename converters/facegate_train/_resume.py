"""A net as it was before export, from an ONNX file: training goes on where it ended."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from facegate_train._export import plain
from facegate_train._loop import require_torch
from facegate_train.errors import TrainError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path


def load(role: str, net: Any, path: Path, batches: Iterable[Any]) -> None:
    """Give an exported net's weights to a new net of the same kind.

    Export folds batch normalisation into the convolutions. Here each gets the mean and the variance that some batches
    have there, and a scale and an offset that undo them: the net computes what the file does, in training as well.

    Args:
        role: "detector" or "recognizer".
        net: a new net.
        path: an ONNX file that `export` wrote.
        batches: inputs (N, 3, H, W) as the net is fed in training.

    Raises:
        TrainError: the file is of another net.
    """
    torch = require_torch()
    state = _stored(role, net, path)
    norms = list(_norms(net, state))
    with torch.no_grad():
        for name, module in net.named_modules():
            if isinstance(module, (torch.nn.Conv2d, torch.nn.Linear)):
                module.weight.copy_(state[f"{name}.weight"])
                if module.bias is not None:
                    module.bias.copy_(state[f"{name}.bias"])
        for norm, scale, offset in norms:
            _undo(norm, torch.zeros_like(offset), torch.full_like(offset, 1 - norm.eps), scale, offset)
        measured = _measure(net, [norm for norm, _, _ in norms], batches)
        for (norm, scale, offset), (mean, variance) in zip(norms, measured, strict=True):
            _undo(norm, mean, variance, scale, offset)
    net.train()


def _undo(norm: Any, mean: Any, variance: Any, scale: Any, offset: Any) -> None:
    """Let a normalisation compute scale * x + offset where x has this mean and variance."""
    if not norm.affine:
        # The last one has neither: its file's weights are such that what comes out has the variance 1.
        norm.running_mean.copy_(-offset)
        norm.running_var.fill_(1 - norm.eps)
        return
    norm.running_mean.copy_(mean)
    norm.running_var.copy_(variance)
    norm.weight.copy_(scale * (variance + norm.eps).sqrt())
    norm.bias.copy_(offset + scale * mean)


def _stored(role: str, net: Any, path: Path) -> dict[str, Any]:
    """The file's weights under the names of the net's layers, batch normalisation folded."""
    import onnx  # noqa: PLC0415 - slow to load
    from onnx import numpy_helper  # noqa: PLC0415

    from facegate_train._nets import PIXEL_SCALE  # noqa: PLC0415 - needs torch

    torch = require_torch()
    model = onnx.load(path)
    stored = {i.name: torch.from_numpy(numpy_helper.to_array(i).copy()) for i in model.graph.initializer}
    folded, _ = plain(role, net)
    wanted = {name: value.shape for name, value in folded.state_dict().items()}
    if role == "detector":
        # Each head was cut in two for export.
        for place, head in enumerate(("score", "place")):
            for part in ("weight", "bias"):
                halves = [stored.get(f"parts.{2 * place + half}.{part}") for half in (0, 1)]
                if all(half is not None for half in halves):
                    stored[f"net.{head}.{part}"] = torch.cat(halves)
    if any(name not in stored or stored[name].shape != shape for name, shape in wanted.items()):
        raise TrainError(f"{path.name} holds another net than the {role} that is trained", hint="start without --start")
    prefix = "net." if role == "detector" else ""
    state = {name.removeprefix(prefix): stored[name] for name in wanted}
    if role == "detector":
        state["stem.0.0.weight"] = state["stem.0.0.weight"] / PIXEL_SCALE
    return state


def _norms(net: Any, state: dict[str, Any]) -> Iterable[tuple[Any, Any, Any]]:
    """(normalisation, the scale and the offset that the file has in its place), in no order."""
    torch = require_torch()
    for name, module in net.named_modules():
        if isinstance(module, torch.nn.Sequential):
            for place, child in enumerate(module):
                if isinstance(child, torch.nn.BatchNorm2d):
                    offset = state[f"{name}.{place - 1}.bias"]
                    yield child, torch.ones_like(offset), offset
        elif hasattr(module, "norms"):
            for level, norm in enumerate(module.norms):
                scale, offset = (state[f"{name}.norms.{level}.{part}"].reshape(-1) for part in ("scale", "offset"))
                yield norm, scale, offset
    if isinstance(getattr(net, "norm", None), torch.nn.BatchNorm1d):
        offset = state["embed.bias"]
        yield net.norm, torch.ones_like(offset), offset


def _measure(net: Any, norms: list[Any], batches: Iterable[Any]) -> list[tuple[Any, Any]]:
    """(mean, variance) of what reaches each normalisation, by channel."""
    sums: list[list[Any]] = [[0.0, 0.0, 0] for _ in norms]

    def watch(found: list[Any]) -> Any:
        def hook(_: Any, inputs: Any) -> None:
            values = inputs[0].double()
            axes = [axis for axis in range(values.ndim) if axis != 1]
            found[0] = found[0] + values.mean(axes)
            found[1] = found[1] + values.square().mean(axes)
            found[2] += 1

        return hook

    hooks = [norm.register_forward_pre_hook(watch(found)) for norm, found in zip(norms, sums, strict=True)]
    net.eval()
    for inputs in batches:
        net(inputs)
    for hook in hooks:
        hook.remove()
    means = [total / count for total, _, count in sums]
    return [
        (mean.float(), (squares / count - mean.square()).clamp(min=1e-8).float())
        for mean, (_, squares, count) in zip(means, sums, strict=True)
    ]
