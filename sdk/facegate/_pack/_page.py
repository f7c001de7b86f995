"""The page of a review pack: one HTML file without script, made from the pack's JSON alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from facegate._pack._flow import draw
from facegate._pack._html import Html, join, style, tag
from facegate._pack._page_evaluation import evaluation_part
from facegate._pack._page_parts import SIGNS, code, facts, mark, shown, table
from facegate._pack._page_style import STYLE

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["page"]

_POLICY = "default-src 'none'; style-src 'unsafe-inline'; form-action 'none'; base-uri 'none'"


def page(document: Mapping[str, Any], files: Sequence[tuple[str, str]], *, signed_by: str | None) -> str:
    """The page's text.

    Args:
        document: the pack's JSON.
        files: name and what it is, of the pack's other files.
        signed_by: id of the device's key; None for a pack that nobody signs.
    """
    bundle = document["bundle"]
    gate = document["deployment"].get("gate")
    name = f"{gate['device']}" if gate else f"{bundle['name']} {bundle['version']}"
    title = f"Review pack: {name}"
    sections = [section for section in _sections(document, files, signed_by) if section is not None]
    body = tag(
        "main",
        tag(
            "header",
            tag("p", "Facegate review pack", class_="kind"),
            tag("h1", name),
            tag("p", _subtitle(document), class_="subtitle"),
            _verdict(document),
            _contents(sections),
        ),
        *(tag("section", tag("h2", head), *content, id=anchor) for anchor, head, content in sections),
        tag("footer", tag("p", f"Made by facegate {document['facegate']}, {document['time']}. Same gate, same pack.")),
    )
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", http_equiv="Content-Security-Policy", content=_POLICY),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="referrer", content="no-referrer"),
        tag("title", title),
        style(STYLE),
    )
    return f"<!doctype html>\n{tag('html', head, tag('body', body), lang='en')}\n"


Section = tuple[str, str, "list[Html]"]


def _sections(
    document: Mapping[str, Any], files: Sequence[tuple[str, str]], signed_by: str | None
) -> list[Section | None]:
    gate = document["about"] == "gate"
    return [
        ("controls-off", "What is not in force", _off(document)),
        ("use", "Intended use", _use(document)),
        ("flow", "Data flow", _flow(document)) if gate else None,
        ("data", "Classes of data", _data(document)) if gate else None,
        ("deployment", "Deployment", _deployment(document)),
        ("rules", "Rules and thresholds", _rules(document)),
        ("models", "Models", _models(document)),
        ("evaluation", "Evaluation", evaluation_part(document)),
        ("controls", "Table of controls", _controls(document)),
        ("software", "Software and licences", _software(document)),
        ("files", "This pack", _files(document, files, signed_by)),
    ]


# --- parts -----------------------------------------------------------------------------------------------------------


def _subtitle(document: Mapping[str, Any]) -> str:
    if document["about"] == "gate":
        kind = "A demonstration. " if document["bundle"]["demonstration"] else ""
        return f"{kind}For: {document['declaration']['purpose']}. As it was set up on {document['time'][:10]}."
    return f"A bundle without a gate: what depends on a gate is not told. {document['time'][:10]}."


def _verdict(document: Mapping[str, Any]) -> Html:
    states = [control["state"] for control in document["controls"]]
    off = states.count("not in force")
    kind = "bad" if off else "good"
    counts = "; ".join(f"{states.count(state)} {state}" for state in SIGNS if states.count(state))
    said = (
        f"{off} of {len(states)} controls are not in force" if off else f"No control of {len(states)} is out of force"
    )
    return tag("div", tag("p", said), tag("p", counts, class_="more"), class_=f"verdict {kind}")


def _contents(sections: Sequence[Section]) -> Html:
    return tag(
        "nav", tag("ol", *(tag("li", tag("a", head, href=f"#{anchor}")) for anchor, head, _ in sections)),
        aria_label="Contents",
    )  # fmt: skip


def _off(document: Mapping[str, Any]) -> list[Html]:
    rows = [c for c in document["controls"] if c["state"] in ("not in force", "partly")]
    rows.sort(key=lambda control: control["state"] != "not in force")
    if not rows:
        return [tag("p", "Nothing: every control that can be told is in force.")]
    return [table(("demand", "state", "what was found"), [(c["demand"], mark(c["state"]), c["finding"]) for c in rows])]


def _use(document: Mapping[str, Any]) -> list[Html]:
    bundle = document["bundle"]
    parts = [facts(("The models are for", bundle["intended_use"]), ("Not for", "; ".join(bundle["prohibited_uses"])))]
    declared = document.get("declaration")
    if declared is not None:
        answers = [(name.replace("_", " "), value) for name, value in declared.items() if name != "id"]
        parts = [
            tag("p", "What the operator declared when the gate was made; every decision names it by its hash.",
                class_="lead"),
            facts(*answers, ("id of the declaration", code(declared["id"]))),
            tag("h3", "What the bundle says"),
            *parts,
        ]  # fmt: skip
    return parts


def _flow(document: Mapping[str, Any]) -> list[Html]:
    rows = [
        (
            f"{flow['source']} \u2192 {flow['target']}",
            flow["data"],
            flow["when"],
            flow["protection"],
            tag("span", "leaves", class_="mark out") if flow["leaves"] else "stays",
            tag("span", "biometric", class_="mark bad") if flow["biometric"] else "no",
        )
        for flow in document["flows"]
    ]
    head = ("flow", "data", "when", "protection", "leaves?", "biometric?")
    return [tag("figure", Html(draw(document))), table(head, rows)]


def _data(document: Mapping[str, Any]) -> list[Html]:
    rows = [
        (
            join(tag("strong", each["name"]), tag("span", each["what"], class_="below")),
            tag("span", each["kind"], class_="mark bad" if each["kind"] == "biometric data" else "mark none"),
            join(each["where"], tag("span", each["protection"], class_="below")),
            join(each["kept"], tag("span", f"ends with: {each['ends']}", class_="below")),
            join(each["leaves"], tag("span", "in an encrypted backup" if each["in_backup"] else "", class_="below")),
            each["now"],
        )
        for each in document["data_classes"]
    ]
    return [
        tag(
            "p",
            "Everything that the gate has, with the periods that are set in it; backups are made by hand.",
            class_="lead",
        ),
        table(("class", "kind", "where, how protected", "kept", "leaves the device", "now"), rows, kind="wide"),
    ]


def _deployment(document: Mapping[str, Any]) -> list[Html]:
    found, bundle = document["deployment"], document["bundle"]
    machine, gate = found["machine"], found.get("gate")
    fit = found["fit"]
    parts = []
    if gate is not None:
        credentials = ", ".join(f"{role} {number}" for role, number in gate["credentials"].items())
        parts.append(
            facts(
                ("device", gate["device"]),
                ("device key", join(code(gate["device_key"]), ", ",
                                    "with a passphrase" if gate["device_key_locked"] else "no passphrase")),
                ("sealing key", gate["sealing_key"] + (", beside the store" * gate["sealing_key_beside_store"])),
                ("made", f"{gate['created']}, by facegate {gate['made_with']}"),
                ("marks of decisions", gate["marks"]),
                ("credentials", credentials),
                ("receivers of decisions", gate["receivers"] or "not named by whoever made this pack"),
                ("last backup", gate["last_backup"] or "never"),
            )
        )  # fmt: skip
    memory = f"{machine['memory_mb']:,} MB" if machine["memory_mb"] else ""
    cores = f"{machine['cores']} cores" if machine["cores"] else ""
    where = "Machine" if gate is not None else "Machine that made this pack"
    return [
        *parts,
        tag("h3", "Bundle"),
        facts(
            ("bundle", f"{bundle['name']} {bundle['version']}, {bundle['size'] / 1e6:.2f} MB"),
            ("id", code(bundle["id"])),
            ("signature", f"by {bundle['signed_by']}, " + ("trusted" if bundle["trusted"] else "NOT CHECKED")
             if bundle["signed_by"] else "NOT SIGNED"),
            ("built for", f"{bundle['target_title']} ({bundle['target']})"),
            ("created", bundle["created"]),
        ),
        tag("h3", where),
        facts(
            ("processor", ", ".join(filter(None, (machine["processor"], machine["architecture"], cores, memory)))),
            ("board", machine["board"]),
            ("system", ", ".join(filter(None, (found["system"], found["libc"])))),
            ("software", f"facegate {found['facegate']}, {found['python']}"),
            ("engine", found["engine"] or "none can be used here"),
            ("fits the bundle's target", {"yes": "yes"}.get(fit["verdict"], "; ".join(fit["reasons"]))),
        ),
    ]  # fmt: skip


def _rules(document: Mapping[str, Any]) -> list[Html]:
    rows = [
        (
            join(shown(point["fmr"]), " ", tag("strong", "in force") if point["in_force"] else ""),
            f"{point['threshold']:.4f}",
            point["evidence"],
            f"{point['fnmr']:.2%} ({point['fnmr_low']:.2%}\u2013{point['fnmr_high']:.2%})" if "fnmr" in point else None,
            f"{point['fmr_upper']:.3g}" if "fmr_upper" in point else None,
            f"{point['genuine']:,} / {point['impostor']:,}" if "genuine" in point else None,
        )
        for point in document["thresholds"]
    ]
    head = ("FMR asked for", "threshold", "evidence", "FNMR (95 %)", "FMR at most (95 %)", "genuine / impostor")
    parts = [tag("h3", "Thresholds of the bundle"), table(head, rows)]
    if not rows:
        parts = [tag("h3", "Thresholds of the bundle"), tag("p", "None: the bundle was never evaluated.")]
    policy, settings = document.get("policy"), document.get("settings")
    if policy is not None and settings is not None:
        flat = [(name, value) for name, value in policy.items() if name not in ("quality", "id")]
        flat += [(f"quality: {name}", value) for name, value in policy["quality"].items()]
        parts = [
            *parts,
            tag("h3", "Policy"),
            facts(*flat, ("id of the policy", code(policy["id"]))),
            tag("h3", "Settings"),
            facts(
                *(
                    (name, join(shown(value), tag("span", document["settings_mean"][name], class_="below")))
                    for name, value in settings.items()
                )
            ),
        ]
    return parts


def _models(document: Mapping[str, Any]) -> list[Html]:
    return [_card(model) for model in document["models"]]


def _card(model: Mapping[str, Any]) -> Html:
    commercial = {True: "allowed", False: "NOT ALLOWED", None: "unknown: nobody said"}
    return tag(
        "article",
        tag("h3", f"{model['role']}: {model['family']}, {model['precision']}"),
        tag("p", "FOR DEMONSTRATIONS ONLY", class_="mark bad") if model["demonstration"] else Html(),
        facts(
            ("task", model["task"]),
            ("input", model["input"]),
            ("output", model["output"]),
            ("size, arithmetic", f"{model['size'] / 1e6:.2f} MB, {model['arithmetic']}"),
            ("licence", model["licence"]),
            ("commercial use", commercial[model["commercial_use"]]),
            ("sha256", code(model["sha256"])),
            ("converted from (sha256)", code(model["source_sha256"])),
            ("converter", f"facegate {model['converter']}"),
            ("calibration set", code(model["calibration"]) if model["calibration"] else "none was needed"),
            ("failed gates that were accepted", model["allowances"] or "none"),
            ("intended use", model["intended_use"]),
            ("prohibited uses", "; ".join(model["prohibited_uses"])),
            ("evaluation", model["evaluation"]),
        ),
        _parity(model["parity"]),
        class_="card",
    )


def _parity(parity: Mapping[str, Mapping[str, float]]) -> Html:
    """How far each output is from that of the original model."""
    if not parity:
        return tag("p", "Nothing is told of how far the model is from the original.", class_="missing")
    names = list(dict.fromkeys(name for figures in parity.values() for name in figures))
    rows = [
        (output, *(f"{figures[name]:.4g}" if name in figures else None for name in names))
        for output, figures in parity.items()
    ]
    head = ("parity with the original", *(name.replace("_", " ") for name in names))
    return table(head, rows, kind="wide")


def _controls(document: Mapping[str, Any]) -> list[Html]:
    legend = tag(
        "dl",
        *(tag("div", tag("dt", mark(state)), tag("dd", what)) for state, what in document["states"].items()),
        class_="facts",
    )
    parts: list[Html] = [
        tag("p", "What law, standards and codes of conduct ask for, and what meets it here. This is no legal advice; "
            "much is the operator's. The tests that show each control are named in the JSON and the CSV.",
            class_="lead"),
        legend,
    ]  # fmt: skip
    for chapter in dict.fromkeys(control["chapter"] for control in document["controls"]):
        rows = [
            (control["demand"], control["source"], control["control"], mark(control["state"]), control["finding"])
            for control in document["controls"]
            if control["chapter"] == chapter
        ]
        parts += [
            tag("h3", chapter),
            table(("demand", "source", "control", "state", "found"), rows, kind="wide controls"),
        ]
    return parts


def _software(document: Mapping[str, Any]) -> list[Html]:
    rows = [
        (
            join(tag("strong", each["name"]), f" {each['version']}"),
            each["licence"],
            "required" if each["required"] else "optional",
            join(*(tag("span", library["name"], class_="below") for library in each["libraries"])) or None,
        )
        for each in document["software"]
    ]
    models = [(f"model: {m['role']}", m["licence"], "required", None) for m in document["models"]]
    missing = sorted({name for each in document["software"] for name in each["missing"]})
    parts = [
        tag("p", "What is installed, as its own metadata says; sbom.cdx.json has it for programs (CycloneDX 1.6).",
            class_="lead"),
        table(("distribution", "licence", "needed", "shared libraries in it"), [*rows, *models]),
    ]  # fmt: skip
    if missing:
        parts.append(tag("p", f"Asked for and not installed: {', '.join(missing)}", class_="note"))
    return parts


def _files(document: Mapping[str, Any], files: Sequence[tuple[str, str]], signed_by: str | None) -> list[Html]:
    if signed_by is None:
        said = "A pack about a bundle is not signed: there is no device whose word it would be."
    else:
        said = (
            f"statement.jws is signed by the device's key {signed_by} over the hash of every other file. "
            "Check it with the device's public key: facegate report verify PACK --key device.key.pub"
        )
    return [
        tag("p", said),
        table(("file", "what it is"), [(code(name), what) for name, what in files]),
        facts(("time", f"{document['time']} ({document['time_source']})")),
    ]
