"""Templates made by several processes: what they make, and what becomes of a run when something dies or changes."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from facegate_convert import _evaluate as room
from facegate_convert._evaluate import _workers
from facegate_convert._evaluate._cache import OK, STATUSES
from facegate_convert._evaluate._sources import get_records
from facegate_convert.errors import DatasetChangedError, WorkerError
from facegate_edge import Pipeline, load_image, open_bundle

HEADER = 64  # bytes of a file of templates before its first record


@pytest.fixture(scope="module")
def source(bundle):
    """The reference bundle as a source."""
    return room.open_source(str(bundle), room.Named()).source


@pytest.fixture
def dataset(rendered_people):
    """Six rendered people."""
    return room.read_dataset(rendered_people)


def test_templates_are_those_of_the_pipeline(source, dataset, bundle):
    """Two processes make, bit for bit, the templates that one pipeline makes of the largest faces."""
    records, notes = get_records(source, dataset, faces="largest", folder=None, jobs=2)
    assert notes == ()
    assert records.present.all()
    with open_bundle(bundle, development=True) as opened, Pipeline(opened) as pipeline:
        for path, row in zip(dataset.paths, records.rows, strict=True):
            frame = load_image(path)
            faces = pipeline.detect(frame)
            assert row["faces"] == len(faces)
            assert (row["width"], row["height"]) == frame.size
            if not faces:
                assert STATUSES[row["status"]] == "no_face"
                continue
            assert row["status"] == OK
            assert np.array_equal(row["values"], pipeline.embed(frame, faces[0]).data) or len(faces) > 1


def test_what_is_kept_is_not_made_again(source, dataset, tmp_path, monkeypatch):
    """A second run with the same folder starts no process at all."""
    first, _ = get_records(source, dataset, faces="largest", folder=tmp_path)
    monkeypatch.setattr(_workers, "_Process", lambda *_: pytest.fail("a process was started"))
    second, _ = get_records(source, dataset, faces="largest", folder=tmp_path)
    assert first.rows.tobytes() == second.rows.tobytes()


def test_another_policy_has_templates_of_its_own(source, dataset, tmp_path):
    """What is kept for one policy is never taken for another."""
    for faces in ("central", "refuse"):
        get_records(source, dataset, faces=faces, folder=tmp_path)
    assert len(list(tmp_path.iterdir())) == 2


@pytest.fixture(scope="module")
def showing(source, rendered_people):
    """Photographs that show a face."""
    dataset = room.read_dataset(rendered_people)
    records, _ = get_records(source, dataset, faces="largest", folder=None)
    return [path for path, row in zip(dataset.paths, records.rows, strict=True) if row["status"] == OK]


def test_images_that_cannot_be_used_are_failures_each_with_its_reason(source, tmp_path, showing):
    """Garbage, an empty file, a bomb, an empty room: the run goes on, and counts them."""
    folder = tmp_path / "people"
    good = showing
    for person in ("a", "b"):
        (folder / person).mkdir(parents=True)
    (folder / "a/good.png").write_bytes(good[0].read_bytes())
    (folder / "b/good.png").write_bytes(good[-1].read_bytes())
    (folder / "a/garbage.png").write_bytes(b"no image at all")
    (folder / "a/empty.jpg").write_bytes(b"")
    (folder / "b/cut.png").write_bytes(good[0].read_bytes()[:3000])
    Image.new("L", (20000, 20)).save(folder / "b/wide.png")
    Image.new("RGB", (200, 200), (90, 90, 90)).save(folder / "b/room.png")
    dataset = room.read_dataset(folder)
    records, _ = get_records(source, dataset, faces="largest", folder=None, jobs=1)
    found = {name: STATUSES[s] for name, s in zip(dataset.names, records.rows["status"].tolist(), strict=True)}
    assert found == {
        "a/good.png": "ok",
        "a/garbage.png": "unreadable",
        "a/empty.jpg": "unreadable",
        "b/cut.png": "unreadable",
        "b/good.png": "ok",
        "b/room.png": "no_face",
        "b/wide.png": "unreadable",
    }


def test_a_photograph_that_changes_meanwhile_ends_the_run(source, tmp_path, rendered_people):
    """What is evaluated is what was fingerprinted: a file that is replaced in between is not slipped in."""
    folder = tmp_path / "people"
    good = sorted(rendered_people.rglob("*.png"))
    for person, path in (("a", good[0]), ("b", good[-1])):
        (folder / person).mkdir(parents=True)
        (folder / person / "1.png").write_bytes(path.read_bytes())
    dataset = room.read_dataset(folder)
    (folder / "a/1.png").write_bytes(good[1].read_bytes())
    with pytest.raises(DatasetChangedError, match="changed while"):
        get_records(source, dataset, faces="largest", folder=None)


def test_a_process_that_dies_costs_one_photograph(source, dataset, monkeypatch, tmp_path):
    """An image that kills whoever opens it is a failure of its own; the others are made, and it is tried again."""
    make = _workers._Process.make
    victim = dataset.sha256[2]

    def dies(self, digest, path):
        if digest == victim:
            self.kill()
        return make(self, digest, path)

    monkeypatch.setattr(_workers._Process, "make", dies)
    records, _ = get_records(source, dataset, faces="largest", folder=tmp_path, jobs=2)
    assert STATUSES[records.rows["status"][2]] == "crashed"
    assert (np.delete(records.rows["status"], 2) != STATUSES.index("crashed")).all()
    monkeypatch.undo()
    records, _ = get_records(source, dataset, faces="largest", folder=tmp_path, jobs=2)
    assert STATUSES[records.rows["status"][2]] in ("ok", "no_face")


def test_code_in_the_current_folder_is_not_run(source, dataset, tmp_path, monkeypatch):
    """A dataset that holds a `numpy.py` runs nothing of it, also if somebody works inside its folder."""
    for name in ("numpy", "PIL", "json", "facegate_edge", "sitecustomize"):
        (tmp_path / f"{name}.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\n")
    monkeypatch.chdir(tmp_path)
    records, _ = get_records(source, dataset, faces="largest", folder=None, jobs=1)
    assert records.present.all()
    assert not (tmp_path / "ran").exists()


def test_processes_that_cannot_begin_are_an_error_with_a_hint(source, dataset, monkeypatch):
    """An interpreter that ends at once is told as such, not waited for."""
    monkeypatch.setattr(_workers.sys, "executable", "/bin/false")
    with pytest.raises(WorkerError, match="ended before it began") as caught:
        get_records(source, dataset, faces="largest", folder=None)
    assert "doctor" in caught.value.hint
    monkeypatch.setattr(_workers.sys, "executable", "/nowhere/python")
    with pytest.raises(WorkerError, match="no process can be started"):
        get_records(source, dataset, faces="largest", folder=None)


def command(bundle, dataset, folder):
    """The evaluation as a process of its own."""
    return [
        *(sys.executable, "-m", "facegate", "evaluate", "run", str(bundle), str(dataset), "-o", str(folder)),
        *("--lawful-basis", "a test", "--replicates", "0", "--jobs", "1", "--json"),
    ]


def kept(folder):
    """How many templates are on the disk."""
    sizes = [path.stat().st_size for path in (folder / "templates").glob("template-*.fgt")]
    return max(sizes, default=0)


def children(process):
    """Where the kernel shows a process's children."""
    text = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text()
    return [Path(f"/proc/{number}") for number in text.split()]


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_a_run_that_is_broken_off_goes_on_where_it_ended(how, bundle, rendered_people, tmp_path):
    """Killed or interrupted in the middle: no process stays behind, and what was made is not made again."""
    process = subprocess.Popen(  # noqa: S603 - our own command
        command(bundle, rendered_people, tmp_path / "result"), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    deadline = time.monotonic() + 60
    while kept(tmp_path / "result") < 700 and time.monotonic() < deadline and process.poll() is None:
        time.sleep(0.002)
    workers = children(process)
    process.send_signal(how)
    output, errors = process.communicate(timeout=60)
    if process.returncode == 0:
        pytest.skip("this machine was faster than the test")
    assert process.returncode == {signal.SIGKILL: -9, signal.SIGINT: 130, signal.SIGTERM: -15}[how]
    assert b"Traceback" not in errors
    assert not (tmp_path / "result/result.json").exists()
    for worker in workers:
        while worker.exists() and time.monotonic() < deadline:
            time.sleep(0.01)
        assert not worker.exists()
    (path,) = (tmp_path / "result/templates").iterdir()
    before = path.read_bytes()
    done = subprocess.run(  # noqa: S603 - our own command
        command(bundle, rendered_people, tmp_path / "result"), capture_output=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    after = path.read_bytes()
    count = len(room.read_dataset(rendered_people).names)
    record = (len(after) - HEADER) // count
    assert len(after) == HEADER + count * record  # each photograph once
    whole = HEADER + (len(before) - HEADER) // record * record
    assert whole > HEADER
    assert after[:whole] == before[:whole]
    assert output == b""
