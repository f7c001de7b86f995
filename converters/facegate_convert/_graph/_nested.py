"""Graphs within graphs: which nodes are needed, the branch of an If that is taken, functions of the model's own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import onnx

from facegate_convert.errors import InvalidGraphError, UnsupportedOperatorError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

# The largest face models have 3,000 nodes; exporters write up to ten more for the shapes of each.
MAX_NODES = 50_000
_MAX_DEPTH = 16


def live_nodes(graph: onnx.GraphProto) -> list[onnx.NodeProto]:
    """The nodes that the outputs need, in the file's order."""
    needed = {o.name for o in graph.output}
    kept = []
    for node in reversed(graph.node):
        if needed.intersection(node.output):
            needed.update(_reads(node))
            needed.discard("")  # an optional input that is absent
            kept.append(node)
    if len(kept) > MAX_NODES:
        raise InvalidGraphError(
            f"the model has {len(kept)} nodes; at most {MAX_NODES} are converted", hint="simplify the model first"
        )
    return kept[::-1]


def subgraphs(node: onnx.NodeProto) -> Iterator[onnx.GraphProto]:
    """The graphs in a node's attributes."""
    for attribute in node.attribute:
        if attribute.type == onnx.AttributeProto.GRAPH:
            yield attribute.g
        elif attribute.type == onnx.AttributeProto.GRAPHS:
            yield from attribute.graphs


def _reads(node: onnx.NodeProto, depth: int = 0) -> Iterator[str]:
    """Everything that a node reads, also from within its branches."""
    yield from node.input
    if depth > _MAX_DEPTH:
        raise InvalidGraphError(
            f"graphs are nested more than {_MAX_DEPTH} deep", hint="export the model with fixed shapes"
        )
    for graph in subgraphs(node):
        yield from (o.name for o in graph.output)
        for inner in graph.node:
            yield from _reads(inner, depth + 1)


def read_by(nodes: Iterable[onnx.NodeProto]) -> set[str]:
    """Every name that these nodes read."""
    return {name for node in nodes for name in _reads(node)}


def names_of(nodes: Iterable[onnx.NodeProto]) -> set[str]:
    """Every name in these nodes and in the graphs within them, and that each is text."""
    found: set[str] = set()
    for node in nodes:
        found.update(_reads(node))
        found.update((*node.output, node.name, node.op_type, node.domain))
        for graph in subgraphs(node):
            found |= names_of(graph.node)
            found.update(t.name for t in graph.initializer)
    if not all(isinstance(name, str) for name in found):  # protobuf gives bytes for what is no UTF-8
        raise InvalidGraphError("a name is not valid text (UTF-8)", hint="the model is damaged: export it again")
    return found


def branch(node: onnx.NodeProto, condition: Any) -> onnx.GraphProto:
    """The graph of an If that a constant condition takes."""
    wanted = "then_branch" if bool(condition.reshape(-1)[0]) else "else_branch"
    found: onnx.GraphProto | None = next(
        (a.g for a in node.attribute if a.name == wanted and a.type == onnx.AttributeProto.GRAPH), None
    )
    if found is None:
        raise InvalidGraphError(
            f"node {node.name!r} (If): it has no {wanted}", hint="check the model with onnx.checker and export it again"
        )
    return found


def without_functions(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model with its own functions written out where they are called (older dynamo exports have them)."""
    if not model.functions:
        return model
    _check_functions(model)
    try:
        from onnx import inliner  # noqa: PLC0415 - only for the few models that need it

        inlined: onnx.ModelProto = inliner.inline_local_functions(model)
    except Exception as error:
        raise InvalidGraphError(
            "the model's own functions cannot be written out", hint="export it again with a newer torch"
        ) from error
    return inlined


def _check_functions(model: onnx.ModelProto) -> None:
    """Refuse functions that call themselves, and those that would be too large written out."""
    bodies = {(f.domain, f.name): f for f in model.functions}
    sizes: dict[tuple[str, str], int] = {}
    state: dict[tuple[str, str], bool] = {}
    for start in bodies:
        pending = [start]
        while pending:
            key = pending[-1]
            calls = [k for n in bodies[key].node if (k := (n.domain, n.op_type)) in bodies]
            waiting = [k for k in calls if k not in sizes]
            if key in sizes or not waiting:
                pending.pop()
                sizes.setdefault(key, min(len(bodies[key].node) + sum(sizes[k] for k in calls), 2 * MAX_NODES))
                continue
            if state.get(key):
                raise UnsupportedOperatorError(
                    f"{key[0]}::{key[1]}", key[1], "it is a function that calls itself", hint="export the model again"
                )
            state[key] = True
            pending.extend(waiting)
    total = sum(sizes.get((n.domain, n.op_type), 1) for n in model.graph.node)
    if total > MAX_NODES:
        raise InvalidGraphError(
            f"the model's functions written out have more than {MAX_NODES} nodes", hint="simplify the model first"
        )
