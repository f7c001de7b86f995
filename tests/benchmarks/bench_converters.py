"""Three converters on the same ONNX files: our own lowering, onnx2tf, and onnx-tf.

    python tests/benchmarks/bench_converters.py --work DIR [--onnx2tf-python PYTHON] [--onnx-tf-python PYTHON]
        [--models DIR] [--only NAME ...] [--steps convert,latency,table] [--json FILE] [--markdown FILE]

Each conversion is a process of its own, from the ONNX file to a float32 TFLite file: its time on the clock and of
processors, and its largest resident memory, Python's start and imports included; the median of `--runs`. Our process
is the one that imports `facegate_convert` and lowers; onnx2tf is its command with the backend that needs no TensorFlow;
onnx-tf is our `--via onnx-tf`, because alone it ends in front of TFLite and stumbles over the names of two models.

Then each result is read and run here by LiteRT: operators, TRANSPOSE, partitions of XNNPACK, the largest difference to
onnxruntime relative to the output's range over the same eight rendered pictures, and the time of one run on one thread,
measured in turns. onnx2tf and onnx-tf need environments of their own (docs/peers.md); one that is not named is left
out. A conversion that fails is a row with its reason. What is done is kept in --work and not done again.

Exits with 1 where a peer is better than ours by more than noise, in any column.
"""
# ruff: noqa: PLC0415, S603 - a child's memory begins with its parent's, so the parent imports nothing

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

ROOT = Path(__file__).resolve().parents[2]
SHARED = ROOT.parent / "shared" / "models"
REFERENCE = ROOT / "converters" / "facegate_convert" / "reference"
SIZE = (320, 320)
# By name: the file, and the size of models that leave it open.
MODELS = {
    "reference detector": (REFERENCE / "detector.onnx", None),
    "reference recogniser": (REFERENCE / "recognizer.onnx", None),
    "reference liveness": (REFERENCE / "liveness.onnx", None),
    "YuNet-n 320": ("yunet/yunet_n_320_320.onnx", None),
    "YuNet-n open": ("yunet/yunet_n_dynamic.onnx", SIZE),
    "YuNet-s 320": ("yunet/yunet_s_320_320.onnx", None),
    "SCRFD-500M 320": ("scrfd-500m/scrfd_500m_bnkps_shape320x320.onnx", None),
    "SCRFD-500M open": ("scrfd-500m/det_500m.onnx", SIZE),
    "SCRFD-2.5G 320": ("scrfd-2.5g/scrfd_2.5g_bnkps_shape320x320.onnx", None),
    "SCRFD-2.5G 640": ("scrfd-2.5g/scrfd_2.5g_kps.onnx", None),
    "RetinaFace MobileNet-0.25": ("retinaface-mnet025/retinaface_mnet025_320.onnx", None),
    "MobileFaceNet ReLU6": ("mobilefacenet-foamliu/mobilefacenet_dynbatch.onnx", None),
    "MobileFaceNet PReLU": ("mobilefacenet-zqcnn/mobilefacenet_zqcnn.onnx", None),
    "MobileFace v2": ("mobileface-becauseofai/mobileface_id_v2.onnx", None),
    "MiniFASNetV2": ("minifasnet/2.7_80x80_MiniFASNetV2.onnx", None),
    "MiniFASNetV1SE": ("minifasnet/4_0_0_80x80_MiniFASNetV1SE.onnx", None),
    "MiniFASNetV2SE 128": ("antispoof-minifasv2se-128/best_model_98.20.onnx", None),
}
COLUMNS = (
    *("model", "converter", "time, of processors (s)", "memory (MB)", "operators", "TRANSPOSE", "partitions"),
    *("error", "one run (ms)", "to ours"),
)
CONVERTERS = ("own", "onnx2tf", "onnx-tf")
KEPT = "rows.json"
INPUTS = 8
FIRST = 3_000_000  # seeds of rendered people that no model was trained on
NOISE = 0.05  # of a latency: what is within it is equal

# Asked of each environment's own Python: bytes of a distribution and of everything that it needs.
_INSTALLED = r"""
import importlib.metadata as m, json, os, sys
from pip._vendor.packaging.requirements import Requirement
seen, files, names = set(), {}, set()
def add(requirement):
    r = Requirement(requirement)
    key = (r.name.lower().replace("_", "-"), tuple(sorted(r.extras)))
    if key in seen: return
    seen.add(key)
    try: d = m.distribution(r.name)
    except m.PackageNotFoundError: return
    names.add(key[0])
    for f in d.files or ():
        p = os.path.realpath(d.locate_file(f))
        if os.path.isfile(p): files[p] = os.path.getsize(p)
    for q in d.requires or ():
        s = Requirement(q)
        if s.marker is None or any(s.marker.evaluate({"extra": e}) for e in ("", *r.extras)): add(q)
for r in sys.argv[1:]: add(r)
print(json.dumps({"bytes": sum(files.values()), "packages": len(names)}))
"""


def model_path(name, models):
    """The file of a model."""
    path = Path(MODELS[name][0])
    return path if path.is_absolute() else models / path


# What runs in a process of its own -----------------------------------------------------------------------------------


def child_own(path, target, size):
    """Our own lowering."""
    from facegate_convert import load_graph, lower

    target.write_bytes(lower(load_graph(path, input_size=size)).model)


def child_onnx_tf(path, target, size):
    """`--via onnx-tf` with the model's outputs as they are, as the other two give them."""
    from facegate_convert._convert import Options
    from facegate_convert._families import MatchedOutput
    from facegate_convert._onnx_tf import convert_via_onnx_tf
    from facegate_convert._source import read_source

    source = read_source(path, Options(input_size=size))
    plain = tuple(MatchedOutput(o.name, f"out{i}") for i, o in enumerate(source.match.sketch.outputs))
    target.write_bytes(convert_via_onnx_tf(replace(source, match=replace(source.match, outputs=plain))))


def child_fix(path, target, size):
    """A copy of a model whose input has a size."""
    import onnx

    model = onnx.load(str(path))
    weights = {tensor.name for tensor in model.graph.initializer}
    (image,) = (value for value in model.graph.input if value.name not in weights)
    for dimension, value in zip(image.type.tensor_type.shape.dim, (1, 3, size[1], size[0]), strict=True):
        dimension.dim_value = value
    for value in (*model.graph.output, *model.graph.value_info):
        value.type.tensor_type.ClearField("shape")  # those of the size that it was exported for
    onnx.save(model, str(target))


def command(converter, path, target, size, given):
    """The command line of a conversion."""
    if converter != "onnx2tf":
        sizes = map(str, size or ())
        return [sys.executable, __file__, "--child", converter, str(path), str(target), *sizes]
    # It writes a simplified model over the file that it is given: it gets a copy.
    path = Path(shutil.copyfile(path, target.parent / "copy.onnx"))
    if size:
        # It leaves height and width open, whatever -ois says: both are fixed in its copy.
        fixed = target.parent / "fixed.onnx"
        subprocess.run([sys.executable, __file__, "--child", "fix", str(path), str(fixed), *map(str, size)], check=True)
        path = fixed
    return [
        *(given.onnx2tf_python, "-m", "onnx2tf", "-i", str(path), "-o", str(target.parent / "onnx2tf"), "-n"),
        *("-tb", "flatbuffer_direct", "-b", "1"),
    ]


def convert(converter, name, given):
    """A row: what a conversion took, or why it failed. Leaves the TFLite file in the work folder."""
    path, size = model_path(name, given.models), MODELS[name][1]
    folder = folder_of(converter, name, given)
    shutil.rmtree(folder, ignore_errors=True)  # of a run that was broken off
    folder.mkdir(parents=True)
    target, said = folder / "model.tflite", folder / "said.txt"
    environment = {k: v for k, v in os.environ.items() if converter == "own" or k != "PYTHONPATH"}
    if converter == "onnx-tf":
        environment["PYTHONPATH"] = os.environ.get("PYTHONPATH", "")  # ours; the driver keeps it from the worker
        environment["FACEGATE_ONNX_TF_PYTHON"] = given.onnx_tf_python
    line, found = command(converter, path, target, size, given), []
    for _ in range(1 if converter == "onnx-tf" else given.runs):
        start = time.perf_counter()
        with said.open("w") as stream:
            process = subprocess.Popen(line, stdout=stream, stderr=stream, env=environment)
            # Its largest process counts, and what it waited for.
            _, status, usage = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            lines = [line for line in said.read_text(errors="replace").splitlines() if line.strip()]
            return {"failed": reason(lines), "seconds": time.perf_counter() - start}
        found.append((time.perf_counter() - start, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024))
    if converter == "onnx2tf":
        (made,) = (folder / "onnx2tf").glob("*_float32.tflite")
        target.write_bytes(made.read_bytes())
    seconds, processors, megabytes = (statistics.median(values) for values in zip(*found, strict=True))
    return {"seconds": seconds, "processors": processors, "megabytes": megabytes, "bytes": target.stat().st_size}


def reason(lines):
    """The last thing that a failing converter said, without paths and colors."""
    last = re.sub(r"\x1b\[[\d;]*m", "", lines[-1]) if lines else "no reason given"
    last = re.sub(r"(/[\w.+-]+){2,}", "(path)", last)
    last = re.sub(r"^([\w.]+Error: )+", "", last)
    return last.removeprefix("onnx-tf cannot convert this model: ")[:160]


# What the results are worth ------------------------------------------------------------------------------------------


def judged(name, made, models):
    """Operators, partitions and the error of a TFLite file."""
    import numpy as np

    from facegate_convert import _measure, load_graph
    from facegate_convert._quantize._flat import operations
    from facegate_convert.errors import MeasureError

    path, size = model_path(name, models), MODELS[name][1]
    operators = Counter(o.code for o in operations(made))
    row = {"operators": sum(operators.values()), "transposes": operators["TRANSPOSE"]}
    try:
        row["partitions"] = _measure.partitions(made)
        engine = interpreter(made)
    except (MeasureError, RuntimeError):
        return {**row, "failed": refusal(made)}
    graph = load_graph(path, input_size=size)
    (image,) = graph.inputs
    first = image.shape[1] == 3
    height, width = image.shape[2:] if first else image.shape[1:3]
    inputs = rendered(path, size, width, height)
    wanted = _measure.run_onnx(path, inputs, channels_first=first)
    (fed,) = engine.get_input_details()
    shape = (1, height, width, 3) if fed["shape"][-1] == 3 else (1, 3, height, width)
    if tuple(fed["shape"]) != shape:
        row["note"] = "leaves the size of its input open"
        engine.resize_tensor_input(fed["index"], shape)
        engine.allocate_tensors()
    declared = {output["index"]: tuple(output["shape"]) for output in engine.get_output_details()}
    results = {output: [] for output in declared}
    for value in inputs:
        engine.set_tensor(fed["index"], value if shape[-1] == 3 else value.transpose(0, 3, 1, 2))
        engine.invoke()
        for output, values in results.items():
            values.append(engine.get_tensor(output))
    free = {output: np.stack(values) for output, values in results.items()}
    if any(free[output].shape[1:] != shape for output, shape in declared.items()):
        row["note"] = "declares other shapes of its outputs than it gives"
    worst = 0.0
    for expected in wanted.values():
        # Each converter names outputs in its own way: an output of the source is the nearest of those of its size.
        errors = {output: distance(expected, found) for output, found in free.items() if found.size == expected.size}
        if not errors:
            return {**row, "failed": "an output of the source is missing"}
        nearest = min(errors, key=errors.get)
        worst = max(worst, errors[nearest])
        del free[nearest]
    row["error"] = worst
    return row


def interpreter(model):
    """LiteRT's own interpreter, one thread, XNNPACK: it also runs what declares wrong shapes."""
    from ai_edge_litert.interpreter import Interpreter

    from facegate_convert._interpreter import quiet

    with quiet():
        made = Interpreter(model_content=model, num_threads=1)
        made.allocate_tensors()
    return made


def judged_apart(name, made, given):
    """`judged` in a process of its own: this one stays small, because a child's memory begins with its parent's."""
    command = [sys.executable, __file__, "--child", "judge", str(made), name, str(given.models)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        return {"failed": f"LiteRT: {reason(done.stderr.splitlines())}"}
    return json.loads(done.stdout)


def refusal(model):
    """Why LiteRT refuses a model."""
    try:
        interpreter(model)
    except RuntimeError as error:
        return f"LiteRT: {str(error).splitlines()[0]}"
    return "LiteRT refuses it"


def rendered(path, size, width, height):
    """Pictures of rendered people as the model is fed them, float32 (1, height, width, 3)."""
    import numpy as np

    from facegate.simulation import draw_scene, render
    from facegate_convert._convert import Options
    from facegate_convert._source import read_source

    normal = read_source(path, Options(input_size=size)).match.preprocessing
    mean, scale = np.float32(normal.mean), np.float32(normal.scale)
    found = []
    for seed in range(FIRST, FIRST + INPUTS):
        scene = draw_scene(seed, width=width, height=height, faces=1 + seed % 2, identities=(FIRST, FIRST + 100_000))
        pixels = render(scene).pixels.astype(np.float32)
        found.append((((pixels[..., ::-1] if normal.color == "BGR" else pixels) - mean) * scale)[None])
    return found


def distance(expected, found):
    """The largest difference relative to the range, of arrays (N, ...) that may be channels first and channels last."""
    import numpy as np

    forms = [found.reshape(len(found), -1)]
    if found.ndim == 5:  # inputs, batch, and an image
        forms.append(found.transpose(0, 1, 4, 2, 3).reshape(len(found), -1))
    wanted = expected.reshape(len(expected), -1).astype(np.float64)
    return min(float(np.abs(form - wanted).max()) for form in forms) / (float(np.ptp(wanted)) or 1.0)


def timed(name, rows, given):
    """The median time of a run by converter, in milliseconds, and of its ratio to ours round by round.

    The device's engine runs them, but LiteRT's interpreter if it cannot run one of them: the same library.
    """
    from facegate_convert import _measure

    models = {c: (folder_of(c, name, given) / "model.tflite").read_bytes() for c, row in rows.items() if "error" in row}
    if any("note" in rows[c] for c in models):
        found = by_interpreter(models, given.seconds)
    else:
        found = _measure.times(models, threads=1, seconds=given.seconds)
    return {
        c: {
            "milliseconds": statistics.median(values) * 1000,
            "ratio": statistics.median(a / b for a, b in zip(values, found["own"], strict=True)),
        }
        for c, values in found.items()
    }


def by_interpreter(models, seconds):
    """As `_measure.times`."""
    engines = {name: interpreter(model) for name, model in models.items()}
    shapes = [tuple(engine.get_input_details()[0]["shape"]) for engine in engines.values()]
    for engine, shape in zip(engines.values(), shapes, strict=True):
        if shape != shapes[0]:  # ours
            engine.resize_tensor_input(engine.get_input_details()[0]["index"], shapes[0])
            engine.allocate_tensors()
    for engine in (*engines.values(), *engines.values()):
        engine.invoke()
    found = {name: [] for name in engines}
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or len(found["own"]) < 10:
        for name, engine in engines.items():
            start = time.perf_counter()
            engine.invoke()
            found[name].append(time.perf_counter() - start)
    return found


def folder_of(converter, name, given):
    """Where a conversion's files lie."""
    return given.work / re.sub(r"\W+", "-", f"{converter} {name}")


def installed(given):
    """Bytes and packages of each environment."""
    asked = {
        "own": (sys.executable, "facegate[convert]"),
        "onnx2tf": (given.onnx2tf_python, "onnx2tf"),
        "onnx-tf": (given.onnx_tf_python, "facegate[onnx-tf]"),
    }
    found = {}
    for converter, (python, requirement) in asked.items():
        if python:
            environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
            done = subprocess.run(
                [python, "-c", _INSTALLED, requirement], capture_output=True, text=True, check=True, env=environment
            )
            found[converter] = json.loads(done.stdout)
    return found


# Tables --------------------------------------------------------------------------------------------------------------


def cell(row, key, form):
    """A figure of a row, or a dash."""
    value = row.get(key)
    return form.format(value) if value is not None else "-"


def table(rows, sizes):
    """The tables of docs/peers.md, as Markdown."""
    lines = ["| converter | installed | packages |", "|---|---|---|"]
    lines += [f"| {c} | {v['bytes'] / 1e6:.0f} MB | {v['packages']} |" for c, v in sizes.items()]
    lines += ["", f"| {' | '.join(COLUMNS)} |", "|---" * len(COLUMNS) + "|"]
    for name, by_converter in rows.items():
        for converter in CONVERTERS:
            row = by_converter.get(converter)
            if row is None:
                continue
            title = name if converter == "own" else ""
            if "failed" in row:
                lines.append(
                    f"| {title} | {converter} | {row['seconds']:.1f} | **fails**: {row['failed']} | | | | | | |"
                )
                continue
            took = f"{row['seconds']:.1f} ({row['processors']:.1f})"
            figures = (
                cell(row, "megabytes", "{:.0f}"),
                *(cell(row, key, "{}") for key in ("operators", "transposes", "partitions")),
                cell(row, "error", "{:.1e}"),
                cell(row, "milliseconds", "{:.2f}"),
                cell(row, "ratio", "{:.2f}"),
            )
            mark = " (a)" if "note" in row else ""
            lines.append(f"| {title} | {converter}{mark} | {took} | {' | '.join(figures)} |")
    return "\n".join(lines)


def worse(rows, sizes):
    """Where a peer is better than ours, a line each."""
    found = []
    for name, by_converter in rows.items():
        own = by_converter.get("own", {})
        if "failed" in own:
            found.append(f"{name}: ours fails")
            continue
        for converter, row in by_converter.items():
            if converter == "own" or "failed" in row:
                continue
            keys = ["seconds", "processors", "megabytes", "transposes", "partitions"]
            # More operators are no loss where XNNPACK takes them in fewer pieces: that is what they are for.
            keys += ["operators"] if row["partitions"] <= own["partitions"] else []
            found += [
                f"{name}: {key} {own[key]:.4g}, {converter} {row[key]:.4g}" for key in keys if row[key] < own[key]
            ]
            # Below, the order in which float32 values are summed decides.
            if row["error"] < own["error"] and own["error"] > 1e-5:
                found.append(f"{name}: error {own['error']:.1e}, {converter} {row['error']:.1e}")
            if row.get("ratio", 1.0) < 1 - NOISE:
                found.append(f"{name}: latency, {converter} is {row['ratio']:.2f} of ours")
    found += [f"installed: {c} is smaller" for c, v in sizes.items() if v["bytes"] < sizes["own"]["bytes"]]
    return found


def main():
    """Measure and print; see the module."""
    if sys.argv[1:3] == ["--child", "judge"]:
        print(json.dumps(judged(sys.argv[4], Path(sys.argv[3]).read_bytes(), Path(sys.argv[5]))))
        return 0
    if sys.argv[1:2] == ["--child"]:
        converter, path, target, *size = sys.argv[2:]
        run = {"own": child_own, "onnx-tf": child_onnx_tf, "fix": child_fix}[converter]
        run(Path(path), Path(target), tuple(map(int, size)) or None)
        return 0
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--models", type=Path, default=SHARED)
    parser.add_argument("--onnx2tf-python", default="")
    parser.add_argument("--onnx-tf-python", default=os.environ.get("FACEGATE_ONNX_TF_PYTHON", ""))
    parser.add_argument("--only", nargs="*", choices=tuple(MODELS), metavar="NAME")
    parser.add_argument("--steps", default="convert,latency,table")
    parser.add_argument("--runs", type=int, default=3, help="conversions each; onnx-tf once")
    parser.add_argument("--seconds", type=float, default=9.0, help="of latency for each model")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--markdown", type=Path)
    given = parser.parse_args()
    given.work.mkdir(parents=True, exist_ok=True)
    kept = given.work / KEPT
    rows = json.loads(kept.read_text()) if kept.is_file() else {}
    names = [n for n in given.only or MODELS if model_path(n, given.models).is_file()]
    converters = [
        c for c in CONVERTERS if c == "own" or (given.onnx2tf_python if c == "onnx2tf" else given.onnx_tf_python)
    ]
    if "convert" in given.steps:
        convert_all(names, converters, rows, given)
    if "latency" in given.steps:
        for name in names:
            for converter, figures in timed(name, rows[name], given).items():
                rows[name][converter] |= figures
    kept.write_text(json.dumps(rows, indent=1))
    return show({name: rows[name] for name in MODELS if name in rows}, given) if "table" in given.steps else 0


def convert_all(names, converters, rows, given):
    """Fill `rows` with what is not in it yet, and keep each when it is there."""
    for name in names:
        for converter in converters:
            if converter in rows.setdefault(name, {}):
                continue
            row = convert(converter, name, given)
            if "failed" not in row:
                row |= judged_apart(name, folder_of(converter, name, given) / "model.tflite", given)
            rows[name][converter] = row
            (given.work / KEPT).write_text(json.dumps(rows, indent=1))
            print(name, converter, row, flush=True)


def show(rows, given):
    """Print and save the tables; the exit code."""
    sizes = installed(given)
    text = table(rows, sizes)
    print(text)
    if given.markdown:
        given.markdown.write_text(text + "\n")
    if given.json:
        given.json.write_text(json.dumps({"models": rows, "installed": sizes}, indent=1))
    lost = worse(rows, sizes)
    print("\n".join(["", *lost]) if lost else "\nours is best or equal in every column")
    return int(bool(lost))


if __name__ == "__main__":
    sys.exit(main())
