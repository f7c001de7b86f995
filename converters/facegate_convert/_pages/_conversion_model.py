"""The parts of a conversion's page about the model itself: recipes, layers, graph and time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from facegate_convert._pages._models import layer_errors, operator_times, stages
from facegate_convert._pages._page import Cell, Mark, Table
from facegate_convert._pages._parts import absent, left_out, sentence
from facegate_convert._pages._text import (
    UNKNOWN,
    clean,
    count,
    mapping,
    milliseconds,
    number,
    plural,
    rows,
    significant,
    size,
    small,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from facegate_convert._pages._page import Page

_FLOATS = frozenset({"float", "float32", "float16"})


def add_model(page: Page, report: Mapping[str, Any], precision: str) -> None:
    """Sections about the recipe, the layers, the graph and the time."""
    _recipes(page, report)
    _layers(page, report, precision)
    _graph(page, report)
    _speed(page, report, precision)


def _recipes(page: Page, report: Mapping[str, Any]) -> None:
    page.section("How the precision was chosen", sentence(report.get("why")))
    tried = rows(report.get("recipes"))
    if not tried:
        page.missing("Recipes.", absent(report.get("recipes")) or "")
        return
    made = [
        [
            Cell(clean(r.get("text") or r.get("precision") or "?"), sentence(r.get("why"))),
            small(r.get("error")),
            size(r.get("size")),
            count(r.get("partitions")),
            Mark("good", "chosen") if r.get("chosen") else UNKNOWN,
        ]
        for r in tried
    ]
    page.table(Table.of(("Recipe", "Error", "Size", "XNNPACK pieces", ""), made, "lrrrl"))


def _layers(page: Page, report: Mapping[str, Any], precision: str) -> None:
    page.section("Where the error comes from")
    layers = rows(report.get("layers"))
    found = [("float32", mapping(report.get("parity_float")))]
    found += [(precision, mapping(report.get("parity")))] if precision != "float32" else []
    made = [row for name, outputs in found if not absent(outputs) for row in _parity(name, outputs, len(found) > 1)]
    if made:
        head = ("Output", "Precision", "Cosine, least", "1st percentile", "median", "Error, most", "mean")
        page.table(Table.of(head, made, "llrrrrr", "Against the ONNX model; errors relative to the output's range"))
    else:
        page.missing("Parity of outputs.", absent(report.get("parity")) or "")
    if not layers:
        page.missing("Error by layer.", absent(report.get("layers")) or "")
        return
    given = [
        (
            clean(la.get("name") or f"layer {at}"),
            number(la.get("error")) or 0.0,
            not _is_float(la),
        )
        for at, la in enumerate(layers, 1)
    ]
    ordered = sorted(enumerate(layers, 1), key=lambda one: -(number(one[1].get("error")) or 0))
    weighed = any(number(la.get("sensitivity")) is not None for la in layers)
    table = Table.of(
        ("Layer", "Name", "Operator", "Precision", "Error", *(["Sensitivity"] if weighed else [])),
        [
            [
                str(at),
                clean(la.get("name") or ""),
                clean(la.get("operator") or ""),
                "float32" if _is_float(la) else clean(la.get("precision") or precision),
                small(la.get("error")),
                *([significant(la.get("sensitivity"), 2)] if weighed else []),
            ]
            for at, la in ordered
        ],
        "rclrr" + "r" * weighed,
        "The largest error first"
        + (", with the share of the whole error that goes away if the layer alone stays float32" if weighed else ""),
    )
    plot = layer_errors(given, title="Error by layer")
    if plot:
        page.plot(
            plot,
            "How far a layer's result is from that of the float32 model, with all errors up to there: root of the mean"
            " squared difference over that of the values.",
            table,
        )
    else:
        page.missing("Error by layer.", "No layer adds any.")


_FIGURES = ("cosine_min", "cosine_p1", "cosine_p50", "error_max", "error_mean")


def _parity(name: str, outputs: Mapping[str, Any], beside: bool) -> list[list[str]]:
    """A row for each output; of a float32 model with many that stands beside another, one with the worst figures."""
    given = [(clean(output), mapping(figures)) for output, figures in outputs.items()]
    if beside and name == "float32" and len(given) > 3:  # noqa: PLR2004 - a detector's
        worst = {}
        for key in _FIGURES:
            known = [n for _, figures in given if (n := number(figures.get(key))) is not None]
            worst[key] = (min if key.startswith("cosine") else max)(known, default=None)
        given = [(f"worst of {len(given)} outputs", worst)]
    digits = 6 if name == "float32" else 4
    return [
        [
            output,
            name,
            *(significant(of.get(k), digits) for k in _FIGURES[:3]),
            *(small(of.get(k)) for k in _FIGURES[3:]),
        ]
        for output, of in given
    ]


def _is_float(layer: Mapping[str, Any]) -> bool:
    return layer.get("float32") is True or str(layer.get("precision")) in _FLOATS


def _graph(page: Page, report: Mapping[str, Any]) -> None:
    graph = mapping(report.get("graph"))
    page.section("The graph before and after")
    if left_out(page, report.get("graph"), "Graph."):
        return
    before, after = mapping(graph.get("before")), mapping(graph.get("after"))
    pieces = number(after.get("partitions"))
    outside = mapping(after.get("outside"))
    said = [f"{plural(_nodes(before), 'node')} became {plural(_nodes(after), 'operator')}"]
    if pieces is not None:
        said.append(f"XNNPACK takes them in {plural(pieces, 'piece')}")
    if outside:
        said.append("it leaves " + ", ".join(f"{count(n)} {clean(k)}" for k, n in outside.items()))
    page.text(sentence("; ".join(said)))
    plot = stages(_stages(before), _stages(after), ("ONNX", "Converted"), title="The main path through both graphs")
    if plot:
        page.plot(plot, "A box for each run of operators whose output has the same shape.", _counts(before, after))
    else:
        page.table(_counts(before, after))


def _nodes(side: Mapping[str, Any]) -> float:
    given = number(side.get("nodes"))
    return given if given is not None else sum(number(n) or 0 for n in mapping(side.get("operators")).values())


def _stages(side: Mapping[str, Any]) -> list[tuple[str, list[tuple[str, int]]]]:
    """Neighbours of one shape, put together; padding belongs to what follows it."""
    made: list[tuple[str, dict[str, int]]] = []
    waiting: dict[str, int] = {}
    flow = side.get("flow")
    for entry in flow if isinstance(flow, list) else []:
        if not isinstance(entry, list | tuple) or len(entry) < 3:  # noqa: PLR2004 - operator, count, shape
            continue
        operator, how_many = clean(entry[0]), int(number(entry[1]) or 1)
        if operator.lower() == "pad":
            waiting[operator] = waiting.get(operator, 0) + how_many
            continue
        shape = _shape(entry[2])
        if not made or made[-1][0] != shape:
            made.append((shape, {}))
        for name, n in [*waiting.items(), (operator, how_many)]:
            made[-1][1][name] = made[-1][1].get(name, 0) + n
        waiting = {}
    return [(shape, list(operators.items())) for shape, operators in made]


def _shape(text: Any) -> str:
    """A shape without its batch: "1x56x56x64" as 56 by 56 by 64."""
    sides = clean(text).split("x")
    return " \N{MULTIPLICATION SIGN} ".join(sides[1:] if len(sides) > 1 and sides[0] in {"1", "?"} else sides)


def _counts(before: Mapping[str, Any], after: Mapping[str, Any]) -> Table:
    """Both graphs' operators by how many there are, side by side."""
    sides = [
        sorted(
            ((clean(k), number(n) or 0) for k, n in mapping(side.get("operators")).items()), key=lambda o: (-o[1], o[0])
        )
        for side in (before, after)
    ]
    made = []
    for at in range(max(len(s) for s in sides)):
        cells = [(side[at][0], count(side[at][1])) if at < len(side) else ("", "") for side in sides]
        made.append([*cells[0], *cells[1]])
    return Table.of(("ONNX operator", "Nodes", "TFLite operator", "Operators"), made, "lrlr")


def _speed(page: Page, report: Mapping[str, Any], precision: str) -> None:
    page.section("Time", "Measured on the build machine, which is not the device.")
    latency = mapping(report.get("latency"))
    if latency and not absent(latency):
        made = []
        for threads in sorted(latency, key=str):
            times = mapping(latency[threads])
            base, own = number(times.get("float32")), number(times.get(precision))
            factor = f"{own / base:.2f}" if base and own and precision != "float32" else UNKNOWN
            made.append([clean(threads), milliseconds(base), milliseconds(own), factor])
        page.table(Table.of(("Threads", "float32", precision, "Factor"), made, "lrrr"))
    else:
        page.missing("Latency.", absent(report.get("latency")) or "")
    operators = rows(report.get("operators"))
    if not operators:
        page.missing("Latency by operator.", absent(report.get("operators")) or "")
        return
    given = [(clean(o.get("operator")), number(o.get("float32_ms")), number(o.get("ms"))) for o in operators]
    total = sum(t or 0 for _, _, t in given)
    table = Table.of(
        ("Operator", "How many", "float32", precision, "Share"),
        [
            [
                name,
                count(o.get("count")),
                milliseconds(a),
                milliseconds(b),
                f"{100 * b / total:.0f} %" if b is not None and total else UNKNOWN,
            ]
            for o, (name, a, b) in zip(operators, given, strict=True)
        ],
    )
    plot = operator_times(given, ("float32", precision), title="Time by kind of operator")
    if plot:
        page.plot(plot, "As XNNPACK names them; those in capitals are left to the slow reference kernels.", table)
    else:
        page.table(table)
