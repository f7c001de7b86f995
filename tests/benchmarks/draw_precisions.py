"""Makes the tables of docs/precision.md and its figure from what was counted and what others published.

    python tests/benchmarks/draw_precisions.py

Reads precisions.json (of count_precisions.py) and published.json beside it, and what accuracy costs from the page
docs/quantizing.md, where it was measured. tests/test_precision.py holds the page against the same files.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

HERE = Path(__file__).parent
DOCS = HERE.parents[1] / "docs"
PAGE, FIGURE = DOCS / "precision.md", DOCS / "precision.svg"

TITLES = {
    "scrfd-500m": "SCRFD-500M, 320x320",
    "scrfd-2.5g": "SCRFD-2.5G, 320x320",
    "yunet-n": "YuNet-n, 320x320",
    "reference-detector": "reference detector",
    "mobilefacenet-foamliu": "MobileFaceNet, ReLU6",
    "mobilefacenet-zqcnn": "MobileFaceNet, PReLU",
    "mobileface-v2": "MobileFace v2",
    "reference-recognizer": "reference recogniser",
    "minifasnet-v2": "MiniFASNetV2, 80x80",
    "reference-liveness": "reference liveness",
    "mobilenet-v1": "MobileNet v1, 224x224",
    "mobilenet-v2": "MobileNet v2, 224x224",
}
# How docs/quantizing.md calls the recognisers.
QUANTIZING = {
    "mobilefacenet-foamliu": "MobileFaceNet ReLU6 (foamliu)",
    "mobilefacenet-zqcnn": "MobileFaceNet PReLU (zqcnn)",
    "mobileface-v2": "MobileFace v2",
    "reference-recognizer": "reference, on 60 rendered people",
}
CORES = {
    "cortex-a72": "`rpi4` (A72)",
    "cortex-a76": "`rpi5` (A76)",
    "cortex-a53": "`rpi3` (A53)",
    "cortex-a7": "`generic-armv7` (A7)",
}
FORMS = ("float32", "float16", "dynamic", "int8", "mixed")


def load() -> tuple[dict, dict]:
    """What was counted, and what was published."""
    return tuple(json.loads((HERE / name).read_text()) for name in ("precisions.json", "published.json"))


def ratio(forms: dict, form: str, core: str) -> float | None:
    """Instructions of a form against float32's on a core."""
    counts = [forms.get(f, {}).get("instructions", {}).get(core) for f in (form, "float32")]
    return counts[0] / counts[1] if all(counts) else None


def counts_table(counted: dict) -> str:
    """Instructions by model and core."""
    lines = [
        "| model | target | float32 | float16 arithmetic | dynamic | int8 | mixed |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, forms in counted["models"].items():
        for core, title in CORES.items():
            if core not in forms["float32"].get("instructions", {}):
                continue
            cells = []
            for form in FORMS:
                count, part = forms.get(form, {}).get("instructions", {}).get(core), ratio(forms, form, core)
                shown = "" if count is None else f"{count / 1e6:.1f}"
                cells.append(f"{shown} ({part:.2f})" if shown and form != "float32" else shown)
            lines.append(f"| {TITLES[name]} | {title} | {' | '.join(cells)} |".replace("|  |", "| |"))
    return "\n".join(lines)


def prelu_table(counted: dict) -> str:
    """PReLU at int8, left float or rewritten."""
    forms = counted["models"]["mobilefacenet-zqcnn"]
    lines = ["| target | float32 | PReLU left float | rewritten |", "|---|---|---|---|"]
    for core, title in CORES.items():
        counts = [forms[f]["instructions"].get(core) for f in ("float32", "int8keep", "int8rewrite")]
        if all(counts):
            cells = [f"{c / 1e6:.1f}" + (f" ({c / counts[0]:.2f})" if c != counts[0] else "") for c in counts]
            lines.append(f"| {title} | {' | '.join(cells)} |")
    return "\n".join(lines)


def accuracy() -> dict[str, dict[str, str]]:
    """What docs/quantizing.md has measured: recogniser, precision -> accuracy and cosines."""
    found: dict[str, dict[str, str]] = {}
    name = ""
    for line in (DOCS / "quantizing.md").read_text().splitlines():
        cells = [c.strip().strip("*") for c in line.strip().strip("|").split("|")]
        if len(cells) == 9 and line.startswith("|"):  # the table of recognisers
            name = cells[0] or name
            cosine = cells[7].replace(" / ", ", ") if cells[7] else ""
            found.setdefault(name, {})[cells[1]] = f"{cells[2]} %" + (f"; {cosine}" if cosine else "")
    return found


def cost_table(counted: dict) -> str:
    """Size and accuracy by model and precision."""
    known = accuracy()
    lines = ["| model | precision | kB | what it costs |", "|---|---|---|---|"]
    for name, forms in counted["models"].items():
        if name.startswith("mobilenet"):
            continue
        title = TITLES[name]
        for form in FORMS:
            if "size" not in forms.get(form, {}):
                continue
            entry = forms[form]
            cost = known.get(QUANTIZING.get(name, ""), {}).get(form) or gates(entry.get("gates", {}))
            lines.append(f"| {title} | {form} | {entry['size'] / 1000:.0f} | {cost} |".replace("|  |", "| |"))
            title = ""
    return "\n".join(lines).replace("|  |", "| |")


def gates(measured: dict) -> str:
    """What the gates measured, in the page's words."""
    value = {name: figure for name, (_, figure) in measured.items()}
    failed = [name for name, (status, _) in measured.items() if status in ("failed", "allowed")]
    if "recall" in value:
        said = (
            f"missed {100 * value['recall']:.0f} %, extra {100 * value['precision']:.0f} %; "
            f"points {value['landmarks-p50']:.3f}, {value['landmarks-p95']:.3f}; boxes {value['boxes']:.3f}"
        )
    elif "probability" in value:
        said = f"probability {value['probability']:.3f}"
    elif "drift-p50" in value:
        said = f"cosines {value['drift-p50']:.4f}, {value['drift-p1']:.3f}"
    else:
        return ""
    return said + (f" (**refused**: {', '.join(failed)})" if failed else "")


def published_table(counted: dict, published: dict) -> str:
    """Others' times, and our counts of the same network."""
    lines = [
        "| board | network | engine | float32, ms | int8, ms | time, int8 to float32 | instructions, int8 to float32 |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in published["rows"]:
        forms = counted["models"].get(row["network"], {})
        same = row["engine"].endswith("XNNPACK") and forms
        core = row["core"] or "cortex-a76"
        part = ratio(forms, "int8", core) if same else None
        guess = " (64-bit)" if row["bits"] == 32 else "" if row["core"] else " (A76)"
        network = TITLES.get(row["network"], row["network"])
        more = ", 32-bit" if row["bits"] == 32 else ""
        threads = f", {row['threads']} threads" if row["threads"] else ""
        lines.append(
            f"| {row['board']}{more} | {network} | {row['engine']}{threads} [{row['source']}] | {row['float32_ms']:g} "
            f"| {row['int8_ms']:g} | {row['int8_ms'] / row['float32_ms']:.2f} | "
            + (f"{part:.2f}{guess} |" if part else "|")
        )
    return "\n".join(lines).replace("|  |", "| |")


def sources(published: dict) -> str:
    """Where the published figures are."""
    return "\n".join(f"- [{key}] {text}" for key, text in published["sources"].items())


def blocks() -> dict[str, str]:
    """All that the page takes from the files, by the name of its place."""
    counted, published = load()
    return {
        "counts": counts_table(counted),
        "prelu": prelu_table(counted),
        "cost": cost_table(counted),
        "published": published_table(counted, published),
        "sources": sources(published),
    }


def filled(page: str) -> str:
    """The page with every block in its place, between `<!-- NAME -->` and `<!-- end -->`."""
    for name, text in blocks().items():
        page, places = re.subn(
            rf"(<!-- {name} -->\n).*?(<!-- end -->)",
            lambda m, text=text: f"{m[1]}\n{text}\n\n{m[2]}",
            page,
            flags=re.DOTALL,
        )
        if places != 1:
            sys.exit(f"the page has {places} places for {name}")
    return page


def draw() -> None:
    """The figure: instructions against float32's, and the times that others measured."""
    import matplotlib as mpl  # noqa: PLC0415 - the tables need none of it

    mpl.use("svg")
    import matplotlib.pyplot as plt  # noqa: PLC0415

    mpl.rcParams.update(
        {"svg.hashsalt": "facegate", "font.family": "sans-serif", "font.size": 9, "svg.fonttype": "none"}
    )
    counted, published = load()
    names = [n for n in TITLES if n in counted["models"]][::-1]
    figure, axes = plt.subplots(1, 2, sharey=True, figsize=(9, 4.8))
    looks = {"int8": ("o", "#0072b2"), "dynamic": ("s", "#e69f00"), "float16": ("^", "#009e73")}
    words = {"int8": "int8", "dynamic": "dynamic", "float16": "float16 arithmetic"}
    for ax, core in zip(axes, ("cortex-a72", "cortex-a76"), strict=True):
        ax.axvline(1, color="#888", linewidth=1)
        for form, (mark, color) in looks.items():
            points = [(part, y) for y, n in enumerate(names) if (part := ratio(counted["models"][n], form, core))]
            if points:
                ax.plot(*zip(*points, strict=True), mark, color=color, label=f"{words[form]}, instructions")
        times = [
            (row["int8_ms"] / row["float32_ms"], names.index(row["network"]))
            for row in published["rows"]
            if row["network"] in names and (row["core"] or "cortex-a76") == core
        ]
        if times:
            ax.plot(*zip(*times, strict=True), "x", color="#d55e00", markersize=9, markeredgewidth=2,
                    label="int8, time on a board (others')")  # fmt: skip
        ax.set_title({"cortex-a72": "Cortex-A72 (Raspberry Pi 4)", "cortex-a76": "Cortex-A76 (Raspberry Pi 5)"}[core])
        ax.set_xlim(0, 1.6)
        ax.set_xlabel("against float32 on the same core; less is better")
        ax.grid(axis="x", color="#ddd")
        ax.set_axisbelow(True)
    axes[0].set_yticks(range(len(names)), [TITLES[n] for n in names])
    handles, labels = axes[1].get_legend_handles_labels()
    figure.legend(handles, labels, loc="lower center", ncols=4, frameon=False)
    figure.tight_layout(rect=(0, 0.06, 1, 1))
    figure.savefig(FIGURE, metadata={"Date": None, "Creator": None})


if __name__ == "__main__":
    PAGE.write_text(filled(PAGE.read_text()))
    draw()
