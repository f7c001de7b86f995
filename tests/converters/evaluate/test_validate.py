"""What is found wrong with a dataset: in its files, in its faces, in its labels."""

from __future__ import annotations

import json
import shutil
import stat

import numpy as np
import pytest
from PIL import Image, ImageFilter

from facegate_convert import _evaluate as room
from facegate_convert.cli._evaluate import validate


def kinds(problems):
    """The names of photographs by kind of problem."""
    found = {}
    for problem in problems:
        found.setdefault(problem["kind"], []).append(sorted(problem["photographs"]))
    return found


def textured(seed, size=96):
    """A picture with something in it."""
    rng = np.random.default_rng(seed)
    small = rng.integers(0, 256, (12, 12, 3), np.uint8)
    return Image.fromarray(small).resize((size, size), Image.Resampling.BICUBIC)


@pytest.fixture
def pictures(tmp_path):
    """Two people with three pictures each, no faces in them."""
    for number in range(6):
        path = tmp_path / "people" / "ab"[number // 3] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        textured(number).save(path)
    return tmp_path / "people"


def test_a_clean_dataset_has_no_problems(run, pictures):
    """Different pictures that can be opened: the answer is yes."""
    found = run(validate, pictures)
    assert (found.code, found.data["problems"], found.data["serious"]) == (0, [], 0)
    assert "nothing looks wrong" in found.text
    assert "faces were not looked at" in found.text


def test_copies_and_near_copies_are_found(run, pictures):
    """The same bytes under another name, and the same picture saved smaller, brighter and as JPEG."""
    shutil.copy(pictures / "a/0.png", pictures / "a/copy.png")
    textured(4).resize((80, 80)).save(pictures / "a/small.jpg", quality=60)
    textured(5).point(lambda v: min(255, int(v * 1.1) + 5)).save(pictures / "b/bright.png")
    found = run(validate, pictures)
    assert found.code == 1
    assert kinds(found.data["problems"]) == {
        "copy": [["a/0.png", "a/copy.png"]],
        "near_identical": [["a/small.jpg", "b/4.png"], ["b/5.png", "b/bright.png"]],
    }


def test_files_that_cannot_be_opened_are_found(run, pictures):
    """A broken file among the photographs."""
    (pictures / "b/broken.jpg").write_bytes(b"\xff\xd8\xff broken")
    Image.new("L", (20, 20)).save(pictures / "b/tiny.png")
    found = kinds(run(validate, pictures).data["problems"])
    assert found == {"unreadable": [["b/broken.jpg"]], "too_small": [["b/tiny.png"]]}


def test_file_names_of_any_bytes(run, pictures, tmp_path):
    """A line end, an escape sequence and bytes that are no text: opened like others, and printed harmlessly."""
    for name in (b"new\nline.png", b"\x1b[31mred.png", b"\xff\xfe.png"):
        with open(bytes(pictures / "a") + b"/" + name, "wb") as file:  # noqa: PTH123 - no text, so no Path
            file.write(b"no image " + name)
    found = run(validate, pictures, "-o", tmp_path / "r")
    assert kinds(found.data["problems"]).keys() == {"unreadable"}
    assert len(found.data["problems"]) == 3
    assert "\x1b" not in found.text
    found.text.encode("utf-8")  # raises on half a character
    assert (tmp_path / "r/validation.json").is_file()


def test_labels_that_look_wrong_are_found(run, made, tmp_path):
    """A photograph under somebody else's name, a stranger among a person's photographs, one person as two."""
    given = made(people=12, each=5, noise=0.4)
    for root, suffix in ((given.folder, "png"), (given.features, "npy")):
        (root / f"p00/0.{suffix}").rename(root / f"p01/swapped.{suffix}")
        (root / "p99").mkdir()
        for number in (3, 4):
            (root / f"p05/{number}.{suffix}").rename(root / f"p99/{number}.{suffix}")
    stranger = np.random.default_rng(9).normal(size=16).astype(np.float32)
    np.save(given.features / "p07/0.npy", stranger / np.linalg.norm(stranger))
    found = run(validate, given.folder, "--source", given.features, "-o", tmp_path / "result")
    assert found.code == 1
    told = kinds(found.data["problems"])
    assert ["p01/swapped.png"] in told["filed_wrong"]
    assert told["one_person"] == [["p05", "p99"]]
    assert ["p07/0.png"] in told.get("unlike_own", []) + told.get("filed_wrong", [])
    # Scores stay in the folder; what is printed has none.
    assert set(found.data["problems"][0]) == {"kind", "photographs"}
    path = tmp_path / "result/validation.json"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    details = [p["detail"] for p in json.loads(path.read_text())["problems"] if p["kind"] == "filed_wrong"]
    assert all({"own", "other", "like"} == set(detail) for detail in details)


def test_good_labels_are_not_suspected(run, made):
    """Of people who are told apart well nobody is suspected."""
    given = made(people=12, each=5, noise=0.4)
    assert run(validate, given.folder, "--source", given.features).data["serious"] == 0


def test_pairs_whose_answer_looks_wrong_are_found(run, made):
    """A pair of two people that is listed as the same, and the other way round."""
    given = made(people=10, each=4, noise=0.4)
    rows = [f"p{i:02d}/{a}.png,p{i:02d}/{b}.png,Yes" for i in range(10) for a, b in ((0, 1), (0, 2), (1, 2))]
    rows += [f"p{i:02d}/3.png,p{(i + 3) % 10:02d}/3.png,No" for i in range(10)]
    rows += ["p00/3.png,p04/3.png,Yes", "p02/3.png,p02/0.png,No"]
    path = given.folder / "pairs.csv"
    path.write_text("file_x,file_y,Decision\n" + "\n".join(rows) + "\n")
    told = kinds(run(validate, path, "--source", given.features).data["problems"])
    assert ["p00/3.png", "p04/3.png"] in told["pair_wrong"]
    assert ["p02/0.png", "p02/3.png"] in told["pair_wrong"]
    assert len(told["pair_wrong"]) <= 4


def test_faces_are_looked_at_through_a_bundle(run, rendered_people, bundle, tmp_path):
    """Blurred faces, faces that are too small and photographs of several people are told apart from good ones."""
    folder = tmp_path / "people"
    shutil.copytree(rendered_people, folder)
    source = room.open_source(str(bundle), room.Named()).source
    dataset = room.read_dataset(folder)
    from facegate_convert._evaluate._sources import get_records  # noqa: PLC0415

    records, _ = get_records(source, dataset, faces="largest", folder=tmp_path / "cache")
    good = [
        path
        for path, row in zip(dataset.paths, records.rows, strict=True)
        if row["status"] == 0 and row["faces"] == 1 and row["quality"][2] > 60
    ]
    with Image.open(good[0]) as image:
        image.filter(ImageFilter.GaussianBlur(6)).save(folder / "blurred.png")
        image.resize((56, 56)).save(folder / "small.png")
        with Image.open(good[-1]) as other:
            wide = Image.new("RGB", (448, 224))
            wide.paste(image, (0, 0))
            wide.paste(other, (224, 0))
            wide.save(folder / "two.png")
    for name in ("blurred", "small", "two"):
        (folder / name).mkdir()
        (folder / f"{name}.png").rename(folder / name / "1.png")
    told = kinds(run(validate, folder, "--source", bundle).data["problems"])
    assert ["blurred/1.png"] in told["blurred"] + told.get("no_face", [])
    assert ["small/1.png"] in told["too_small"] + told.get("no_face", [])
    assert ["two/1.png"] in told["several_faces"]
