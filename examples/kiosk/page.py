"""demo-out/index.html: what the camera saw beside what left the device, in one file that needs no other."""

from __future__ import annotations

import base64
import html
import io
import json
import platform
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING

from kiosk import payload
from PIL import Image

if TYPE_CHECKING:
    from collections.abc import Sequence

    from demo import Trial

    from facegate_edge import Timings

THUMBNAIL = (320, 240)
# What each stage is, and its color in light and in dark; inference in warm tones.
STAGES = {
    "preprocess": ("frame into the detector's input", "#8fb7d9", "#5f8fb8"),
    "detect": ("detector", "#e0853d", "#e39a5c"),
    "decode": ("boxes and landmarks", "#5f93c0", "#7fb0d8"),
    "align": ("face into the recognizer's input", "#3f77a8", "#9cc4e6"),
    "measure": ("quality", "#2f5d87", "#6f9cc2"),
    "embed": ("recognizer", "#c8553d", "#e07a62"),
    "template": ("template", "#23486a", "#4d7ba3"),
    "liveness-input": ("face into the liveness model's input", "#7a9fbf", "#86a9c7"),
    "liveness": ("liveness", "#d9a441", "#e6bd6a"),
    "rest": ("compare, policy, signature, to the disk", "#9a9a9a", "#8a8a8a"),
}


def write_page(path: Path, trials: Sequence[Trial], timings: Timings, built: dict, fmr: float) -> None:
    """Write the page.

    Args:
        path: the file.
        trials: the decisions, in order.
        timings: of the same trials.
        built: what `facegate bundle build` reported.
        fmr: the false match rate of the policy.
    """
    labelled = [trial.right for trial in trials if trial.right is not None]
    right = sum(labelled)
    spent = _milliseconds(timings)
    total = sum(model["size"] for model in built["models"]) / 1e6
    point = built["operating_points"][0]
    median = _percentile([sum(row.values()) for row in spent], 50)
    matched = next(t.signed.jws for t in reversed(trials) if t.decision.outcome == "match")
    stages = {
        name: (f".s-{name}{{fill:{light};background:{light}}}", f".s-{name}{{fill:{dark};background:{dark}}}")
        for name, (_, light, dark) in STAGES.items()
    }
    pairs = f"{point['genuine']} and {point['impostor']} rendered pairs of all poses and lights"
    facts = (
        _fact(f"{right} of {len(labelled)}", "visits are decided right", bad=right != len(labelled)),
        _fact(f"{median:.1f} ms", "a decision about a frame, median, one thread"),
        _fact(f"{total:.2f} MB", "three int8 models in one signed bundle"),
        _fact(f"{point['fnmr']:.1%}", f"FNMR at an FMR of {fmr:g}, on {pairs}"),
    )
    template = Template(Path(__file__).with_name("page.html").read_text(encoding="utf-8"))
    page = template.substitute(
        light="".join(light for light, _ in stages.values()),
        dark="".join(dark for _, dark in stages.values()),
        facts="".join(facts),
        trials="".join(_trial(trial) for trial in trials),
        jws=html.escape(matched),
        decision=html.escape(json.dumps(payload(matched), indent=2)),
        machine=html.escape(platform.machine()),
        plot=_plot(spent),
        table=_table(spent),
    )
    path.write_text(page, encoding="utf-8")


def _fact(value: str, what: str, *, bad: bool = False) -> str:
    shown = f"<b{' class=bad' if bad else ''}>{html.escape(value)}</b>"
    return f'<div class="fact">{shown}<span class="soft">{html.escape(what)}</span></div>\n'


def _trial(trial: Trial) -> str:
    """A decision beside the frame that it was made of."""
    decision, note = trial.decision, html.escape(trial.shot.cue.note)
    reasons = ", ".join(decision.reasons)
    rows = {
        "subject": decision.subject,
        "reasons": reasons,
        "liveness": decision.liveness.replace("_", " "),
        "time": decision.time,
        "bundle": f"{decision.bundle[:16]}...",
        "policy": f"{decision.policy[:16]}...",
        "marks": ", ".join(decision.marks),
    }
    listed = "".join(f"<dt>{name}</dt><dd>{html.escape(value)}</dd>" for name, value in rows.items() if value)
    verdict = {None: "again", True: "right", False: "wrong"}[trial.right]
    words = {None: "not usable: another picture was taken", True: "right: ", False: "WRONG, should be: "}
    said = words[trial.right] + (html.escape(trial.expected) if trial.right is not None else "")
    return f"""<article class="trial">
<figure><img src="{_image(trial)}" width="{THUMBNAIL[0]}" height="{THUMBNAIL[1]}" loading="lazy"
 alt="Rendered camera frame: {note}"><figcaption>{note}
 <span class="verdict {verdict}">{said}</span></figcaption></figure>
<div class="out"><div><span class="chip {decision.outcome}">{decision.outcome.replace("_", " ")}</span>
 <span class="soft">no. {decision.sequence}</span></div>
<dl>{listed}</dl></div>
</article>
"""


def _image(trial: Trial) -> str:
    """The frame as a data URL."""
    picture = Image.fromarray(trial.shot.picture.pixels).resize(THUMBNAIL, Image.Resampling.BOX)
    data = io.BytesIO()
    picture.save(data, "JPEG", quality=82)
    return f"data:image/jpeg;base64,{base64.b64encode(data.getvalue()).decode('ascii')}"


def _milliseconds(timings: Timings) -> list[dict[str, float]]:
    """The milliseconds by stage of each decision that looked at a frame."""
    rows = []
    for number, total in enumerate(timings.totals):
        row = {stage: timings.stages[stage][number] / 1e6 for stage in timings.stages}
        rows.append(row | {"rest": total / 1e6 - sum(row.values())})
    return [row for row in rows if row["detect"] > 0]


def _percentile(values: list[float], percent: int) -> float:
    """The nearest-rank percentile."""
    ordered = sorted(values)
    return ordered[max(0, -(-percent * len(ordered) // 100) - 1)] if ordered else 0.0


def _plot(spent: list[dict[str, float]]) -> str:
    """A stacked bar for each decision."""
    width, height, left, bottom = 1180, 210, 56, 20
    highest = max(sum(row.values()) for row in spent) * 1.05
    unit = next(step for step in (1, 2, 5, 10, 20, 50, 100, 200, 500, 10**6) if highest / step <= 6)  # noqa: PLR2004
    pitch = (width - left) / len(spent)
    parts = []
    for line in range(int(highest / unit) + 1):
        y = height - bottom - (height - bottom) * line * unit / highest
        parts.append(f'<line class="axis" x1="{left}" x2="{width}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(f'<text x="{left - 6}" y="{y + 4:.1f}" text-anchor="end">{line * unit} ms</text>')
    for number, row in enumerate(spent):
        y = float(height - bottom)
        x = left + number * pitch + pitch * 0.12
        for stage in STAGES:
            tall = row.get(stage, 0.0) / highest * (height - bottom)
            y -= tall
            if tall > 0:
                box = f'x="{x:.1f}" y="{y:.2f}" width="{pitch * 0.76:.1f}" height="{tall:.2f}"'
                parts.append(f'<rect class="s-{stage}" {box}><title>{stage}: {row[stage]:.2f} ms</title></rect>')
    words = f"Stacked bars: milliseconds by stage of {len(spent)} decisions, the highest {highest / 1.05:.1f} ms"
    return f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="{words}">{"".join(parts)}</svg>'


def _table(spent: list[dict[str, float]]) -> str:
    """Median, 95th percentile and share of each stage."""
    totals = [sum(row.values()) for row in spent]
    everything = sum(totals)
    rows = []
    for stage, (what, _, _) in STAGES.items():
        values = [row.get(stage, 0.0) for row in spent]
        used = [value for value in values if value > 0]
        if used:
            name = f'<th scope="row"><span class="swatch s-{stage}"></span>{html.escape(what)}</th>'
            rows.append(f"<tr>{name}{_cells(used, sum(values) / everything)}</tr>")
    rows.append(f'<tr><th scope="row">a decision</th>{_cells(totals, 1.0)}</tr>')
    head = "".join(f'<th scope="col" class="n">{name}</th>' for name in ("decisions", "median", "95 % below", "share"))
    return f'<table><thead><tr><th scope="col">stage</th>{head}</tr></thead><tbody>{"".join(rows)}</tbody></table>'


def _cells(values: list[float], share: float) -> str:
    figures = (f"{_percentile(values, 50):.2f} ms", f"{_percentile(values, 95):.2f} ms", f"{share:.1%}")
    return "".join(f'<td class="n">{text}</td>' for text in (str(len(values)), *figures))
