"""Which precision pays where: every model in every precision, its size, its gates, and what it executes on ARM cores.

    python tests/benchmarks/count_precisions.py --work DIR [--only NAME ...] [--cores cortex-a72 ...] [--file FILE]
    python tests/benchmarks/draw_precisions.py

Writes tests/benchmarks/precisions.json, from which docs/precision.md and its figure are made. DIR keeps the models and
the counts: what is there is neither made nor counted again, so a run that was stopped goes on. A model that DIR has
replaces the file's; the others stay. Needs `make arm`, the real models and photographs of ../shared (not in the
repository), and an hour on two cores.

Counts are of instructions executed in one run, one thread, after a first run; the core's own way through XNNPACK. They
are no times. MobileNet v1 and v2 (with random weights) are here because others published their times on boards.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper

sys.path.insert(0, str(Path(__file__).parents[1] / "emulated"))
from machine import Machine, read_counts

from facegate_convert import load_graph, lower
from facegate_convert._convert import Options, convert
from facegate_convert._families import recognize
from facegate_convert._heads import finish
from facegate_convert._measure import partitions
from facegate_convert._quantize import quantize
from facegate_convert._quantize._recipe import Recipe

ROOT = Path(__file__).resolve().parents[2]
SHARED = ROOT.parent / "shared"
REFERENCE = ROOT / "converters" / "facegate_convert" / "reference"
FILE = Path(__file__).with_name("precisions.json")
PRECISIONS = ("float32", "float16", "dynamic", "int8", "mixed")
FORMS = ("int8keep", "int8rewrite")  # of PReLU, with the recipe the same otherwise
CORES = ("cortex-a72", "cortex-a76", "cortex-a53", "cortex-a7")
RUNS = 3

# Name: file below ../shared/models or the reference's folder, options of the conversion.
MODELS = {
    "scrfd-500m": ("scrfd-500m/scrfd_500m_bnkps_shape320x320.onnx", {}),
    "scrfd-2.5g": ("scrfd-2.5g/scrfd_2.5g_bnkps_shape320x320.onnx", {}),
    "yunet-n": ("yunet/yunet_n_320_320.onnx", {}),
    "mobilefacenet-foamliu": ("mobilefacenet-foamliu/mobilefacenet_dynbatch.onnx", {"preprocess": "imagenet"}),
    "mobilefacenet-zqcnn": ("mobilefacenet-zqcnn/mobilefacenet_zqcnn.onnx", {}),
    "mobileface-v2": ("mobileface-becauseofai/mobileface_id_v2.onnx", {}),
    "minifasnet-v2": ("minifasnet/2.7_80x80_MiniFASNetV2.onnx", {}),
    "reference-detector": ("detector.onnx", {}),
    "reference-recognizer": ("recognizer.onnx", {}),
    "reference-liveness": ("liveness.onnx", {}),
}
SLOPED = "mobilefacenet-zqcnn"  # the network with PReLU
NETS = ("mobilenet-v1", "mobilenet-v2")
# Blocks of MobileNet v2: expansion, channels, repeats, stride (table 2 of arXiv:1801.04381).
V2 = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))
# Channels and strides of MobileNet v1 (table 1 of arXiv:1704.04861).
V1 = ((64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), *((512, 1),) * 5, (1024, 2), (1024, 1))


def main() -> int:
    """Make, count, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--only", nargs="*", default=(), choices=(*MODELS, *NETS), metavar="NAME")
    parser.add_argument("--file", type=Path, default=FILE, help="written instead of precisions.json")
    parser.add_argument("--cores", nargs="*", default=CORES, choices=CORES)
    parser.add_argument("--shared", type=Path, default=SHARED)
    parser.add_argument("--collect", action="store_true", help="only write the file, of what is in the folder")
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    wanted = [n for n in (*MODELS, *NETS) if not options.collect and (not options.only or n in options.only)]
    for name in wanted:
        (make_net if name in NETS else make_model)(name, options.work, options.shared)
    for name in wanted:
        for core in options.cores:
            count(name, core, options.work)
    known = json.loads(options.file.read_text())["models"] if options.file.exists() else {}
    options.file.write_text(json.dumps(collected(options.work, known), indent=1) + "\n")
    return 0


def make_model(name: str, work: Path, shared: Path) -> None:
    """Convert a model into every precision; what its gates measured goes beside it."""
    file, more = MODELS[name]
    path = REFERENCE / file if name.startswith("reference-") else shared / "models" / file
    finder = None if "detector" in name or name in ("scrfd-500m", "scrfd-2.5g", "yunet-n") else MODELS["yunet-n"][0]
    for precision in PRECISIONS:
        target = work / f"{name}-{precision}.tflite"
        if target.exists():
            continue
        print(f"making {target.name}", flush=True)
        made = convert(
            path,
            Options(
                precision=precision,
                calibration=shared / "faces",
                detector=finder and shared / "models" / finder,
                measure_latency=False,
                allow_drift=True,
                allow_partitions=True,
                **more,
            ),
        )
        target.with_suffix(".json").write_text(json.dumps(made.report.to_dict()))
        target.write_bytes(made.model)
    if name == SLOPED and not (work / f"{name}-{FORMS[0]}.tflite").exists():
        make_forms(name, path, work)


def make_forms(name: str, path: Path, work: Path) -> None:
    """Int8 with PReLU left float and rewritten; how many instructions that takes does not hang on the calibration."""
    graph = load_graph(path)
    match = recognize(graph)
    graph = finish(graph, match.outputs)
    names = {output.source: output.name for output in match.outputs}
    inputs = [np.random.default_rng(n).uniform(0, 255, (1, 112, 112, 3)).astype(np.float32) for n in range(4)]
    for form in FORMS:
        recipe = Recipe("int8", calibration="extreme", prelu=form.removeprefix("int8"))
        lowered = lower(graph, output_names=names).model
        made = quantize(graph, names, lowered, inputs, recipe, input_range=(0, 255))
        (work / f"{name}-{form}.tflite").write_bytes(made.model)


def make_net(name: str, work: Path, _shared: Path) -> None:
    """MobileNet with random weights: how many instructions it takes does not hang on them."""
    if (work / f"{name}-int8.tflite").exists():
        return
    print(f"making {name}", flush=True)
    file = work / f"{name}.onnx"
    onnx.save(mobilenet(name), file)
    graph = load_graph(file)
    names = {"logits": "logits"}
    lowered = lower(graph, output_names=names).model
    inputs = [np.random.default_rng(n).standard_normal((1, 224, 224, 3)).clip(-2, 2).astype("f4") for n in range(4)]
    (work / f"{name}-float32.tflite").write_bytes(lowered)
    for precision in ("dynamic", "int8"):
        recipe = Recipe(precision, calibration="extreme", equalize=False, bias_correction=False)
        made = quantize(graph, names, lowered, inputs, recipe, input_range=(-2, 2))
        (work / f"{name}-{precision}.tflite").write_bytes(made.model)


def mobilenet(name: str) -> onnx.ModelProto:
    """MobileNet v1 or v2 at full width for 224x224 pixels, its batch norms folded."""
    random = np.random.default_rng(0)
    nodes, weights = [], []

    def tensor(values):
        weights.append(onnx.numpy_helper.from_array(values.astype(np.float32), f"w{len(weights)}"))
        return weights[-1].name

    def node(kind, inputs, **attributes):
        nodes.append(helper.make_node(kind, inputs, [f"t{len(nodes)}"], **attributes))
        return nodes[-1].output[0]

    low, high = tensor(np.array(0.0)), tensor(np.array(6.0))

    def conv(value, inside, outside, side, stride, *, groups=1, active=True):
        kernel = random.standard_normal((outside, inside // groups, side, side)) / np.sqrt(inside // groups * side**2)
        found = node(
            "Conv",
            [value, tensor(kernel), tensor(np.zeros(outside))],
            kernel_shape=[side, side], pads=[side // 2] * 4, strides=[stride, stride], group=groups,
        )  # fmt: skip
        return node("Clip", [found, low, high]) if active else found

    value, channels = conv("input", 3, 32, 3, 2), 32
    if name == "mobilenet-v1":
        for outside, stride in V1:
            value = conv(value, channels, channels, 3, stride, groups=channels)
            value, channels = conv(value, channels, outside, 1, 1), outside
    else:
        for expansion, outside, repeats, stride in V2:
            for at in range(repeats):
                before, step, inside = value, stride if at == 0 else 1, channels * expansion
                value = conv(value, channels, inside, 1, 1) if expansion > 1 else value
                value = conv(value, inside, inside, 3, step, groups=inside)
                value = conv(value, inside, outside, 1, 1, active=False)
                value = node("Add", [value, before]) if step == 1 and outside == channels else value
                channels = outside
        value, channels = conv(value, channels, 1280, 1, 1), 1280
    value = node("Flatten", [node("GlobalAveragePool", [value])])
    last = tensor(random.standard_normal((channels, 1000)) / np.sqrt(channels))
    nodes.append(helper.make_node("Gemm", [value, last, tensor(np.zeros(1000))], ["logits"]))
    ends = [("input", [1, 3, 224, 224]), ("logits", [1, 1000])]
    first, after = (helper.make_tensor_value_info(n, TensorProto.FLOAT, shape) for n, shape in ends)
    graph = helper.make_graph(nodes, name, [first], [after], weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)])


def count(name: str, core: str, work: Path) -> None:
    """Count what every form of a model executes on a core, and keep it in the folder."""
    file = work / "counts.json"
    known = json.loads(file.read_text()) if file.exists() else {}
    # Whether weights are unpacked at every run was a question for tflite-runtime only.
    shown = [form for form in (*PRECISIONS, *FORMS) if form != "float16" or core == "cortex-a7"]
    wanted = [work / f"{name}-{form}.tflite" for form in shown]
    named = [str(path) for path in wanted if path.exists()]
    if core == "cortex-a76" and named:  # the only one of them that calculates in float16
        named.insert(1, f"{work / name}-float32.tflite:float16")
    named = [n for n in named if f"{Path(n).name}@{core}" not in known]
    if not named:
        return
    machine = Machine()
    if reason := machine.unavailable():
        sys.exit(reason)
    done = machine.run(
        core,
        [Path(__file__).with_name("run_models.py"), str(RUNS), *named],
        {"PYTHONPATH": str(ROOT / "edge_runtime")},
        plugin=str(machine.folder / "icount.so"),
    )
    marks = dict(read_counts(done.stderr)[0])
    if done.returncode:
        print(f"{name} on {core}: exit {done.returncode}, {done.stderr[-300:]}", file=sys.stderr)
    for place, n in enumerate(named):
        if 2 * place + 1 in marks:
            known[f"{Path(n).name}@{core}"] = {k: v // RUNS for k, v in marks[2 * place + 1].items()}
    print(name, core, f"{done.seconds:.0f} s", flush=True)
    file.write_text(json.dumps(known, indent=1))


def collected(work: Path, known: dict | None = None) -> dict:
    """What was made and counted, as precisions.json has it; of models that were not, what is known."""
    file = work / "counts.json"
    counts = json.loads(file.read_text()) if file.exists() else {}
    found = {"runs": RUNS, "unit": "instructions of one run, one thread", "models": {}}
    for name in (*MODELS, *NETS):
        forms = {}
        for form in (*PRECISIONS, *FORMS):
            path = work / f"{name}-{form}.tflite"
            if not path.exists():
                continue
            forms[form] = {"size": path.stat().st_size, "partitions": partitions(path.read_bytes())}
            executed = {c: counts[k]["all"] for c in CORES if (k := f"{path.name}@{c}") in counts}
            if executed:  # float16 is calculated in float32: what its weights cost stands apart
                forms[form]["weights" if form == "float16" else "instructions"] = executed
            report = path.with_suffix(".json")
            if report.exists() and form != "float32":
                gates = json.loads(report.read_text())["gates"]
                forms[form]["gates"] = {
                    gate["name"]: [gate["status"], gate["value"]]
                    for gate in gates
                    if gate["status"] != "not run" and gate["name"] not in ("parity", "partitions")
                }
        arithmetic = f"{name}-float32.tflite:float16@cortex-a76"
        if arithmetic in counts:
            forms.setdefault("float16", {})["instructions"] = {"cortex-a76": counts[arithmetic]["all"]}
        if forms := forms or (known or {}).get(name, {}):
            found["models"][name] = forms
    return found


if __name__ == "__main__":
    sys.exit(main())
