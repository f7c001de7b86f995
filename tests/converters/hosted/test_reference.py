"""The whole protocol with the reference bundle and rendered people, and clients that know nothing of this project."""

from __future__ import annotations

import io
import json
import secrets
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta, timezone
from importlib.util import find_spec
from pathlib import Path
from threading import Thread

import httpx
import numpy as np
import pytest
from PIL import Image

from facegate_convert import FeatureClient, crop_face, encode_png
from facegate_convert._bundles import Model
from facegate_convert._hosted._features import JOURNAL, collect_features
from facegate_convert._hosted._models import Models, with_margin
from facegate_convert._hosted._serve import Plan, start
from facegate_convert.errors import BuildError, DatasetError, EndpointError, EndpointRefusedError, OutputFileError
from facegate_edge import Frame, Pipeline, compare, open_bundle

from ... import material as materials  # noqa: TID252

BUNDLE = Path(find_spec("facegate").origin).parent / "reference.fgb"
WALL = np.linspace(60, 120, 200, dtype=np.uint8)[:, None, None] * np.ones((1, 200, 3), np.uint8)
PEOPLE = (3_000_000, 3_000_001, 3_000_003)


@pytest.fixture(scope="module")
def bundle():
    """The reference bundle."""
    with open_bundle(BUNDLE, development=True) as opened:
        yield opened


@pytest.fixture(scope="module")
def models(bundle) -> list[Model]:
    """Its models."""
    return [Model(info, bytes(bundle.model_bytes(info.role))) for info in bundle.manifest.models]


@pytest.fixture(scope="module")
def url(models):
    """The endpoint of a server with the reference bundle."""
    plan = Plan("127.0.0.1", 0, "/features", datetime.now(timezone.utc) + timedelta(hours=1), per_minute=100_000)
    with start(plan, lambda: {"reference": models}) as running:
        thread = Thread(target=running.serve_forever)
        thread.start()
        yield running.url
        running.server.stop()
        thread.join()


@pytest.fixture(scope="module")
def photographs() -> dict[int, list[np.ndarray]]:
    """Three people, twice each before a terminal: uint8 (H, W, 3)."""
    return {
        seed: [np.asarray(materials.terminal(seed, number=n, room=seed + n).frame.data) for n in range(2)]
        for seed in PEOPLE
    }


@pytest.fixture(scope="module")
def crops(bundle, photographs) -> dict[int, list[bytes]]:
    """Their faces as the protocol wants them."""
    with Pipeline(bundle) as pipeline:
        found = {}
        for seed, pictures in photographs.items():
            faces = [(pixels, pipeline.detect(Frame(pixels))) for pixels in pictures]
            found[seed] = [encode_png(crop_face(pixels, detected[0].box)) for pixels, detected in faces]
    return found


def standard_library(url: str, model_name: str, png: bytes) -> tuple[int, dict]:
    """A client as somebody writes it who has the protocol's description and the standard library."""
    boundary = secrets.token_hex(8)
    body = io.BytesIO()
    body.write(f"--{boundary}\r\n".encode())
    body.write(b'Content-Disposition: form-data; name="image"; filename="face.png"\r\n')
    body.write(b"Content-Type: image/png\r\n\r\n" + png + b"\r\n")
    body.write(f"--{boundary}\r\n".encode())
    body.write(b'Content-Disposition: form-data; name="model_name"\r\n\r\n' + model_name.encode() + b"\r\n")
    body.write(f"--{boundary}--\r\n".encode())
    request = urllib.request.Request(  # noqa: S310 - the loopback's
        url, body.getvalue(), {"Content-Type": f"multipart/form-data; boundary={boundary}"}
    )
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


def test_clients_of_others_work_unchanged(url, crops):
    """The standard library, httpx and our own client get the same feature, float32 and L2-normalised."""
    png = crops[PEOPLE[0]][0]
    status, plain = standard_library(url, "reference", png)
    other = httpx.post(url, files={"image": ("face.png", png, "image/png")}, data={"model_name": "reference"})
    nameless = httpx.post(url, files={"image": png, "model_name": (None, "reference")})
    with FeatureClient(url, "reference") as client:
        ours = client.features(png)
    assert status == 200
    assert plain == other.json() == nameless.json()
    assert plain["model_name"] == "reference"
    feature = np.array(plain["feature"], np.float32)
    assert feature.shape == (128,)
    assert np.array_equal(feature, ours)
    assert abs(float(np.linalg.norm(feature)) - 1) < 1e-6
    assert standard_library(url, "other", png)[0] == 403


def test_features_tell_people_apart(url, crops):
    """The cosine of two features, without normalising again, is high for one person and low for two."""
    with FeatureClient(url, "reference") as client:
        features = {seed: [client.features(png) for png in pngs] for seed, pngs in crops.items()}
    genuine = [float(a @ b) for a, b in features.values()]
    others = [float(a[0] @ b[1]) for i, a in features.items() for j, b in features.items() if i != j]
    assert min(genuine) > max(others)


def test_a_feature_is_the_devices_template(url, bundle, crops):
    """What is served is what the bundle's pipeline makes of the crop: the same similarity as on the device."""
    pngs = [pngs[0] for pngs in crops.values()]
    with Pipeline(bundle) as pipeline, FeatureClient(url, "reference") as client:
        features = [client.features(png) for png in pngs]
        templates = []
        for png in pngs:
            frame = Frame(with_margin(np.asarray(Image.open(io.BytesIO(png)))))
            faces = pipeline.detect(frame)
            largest = max(faces, key=lambda f: (f.box[2] - f.box[0]) * (f.box[3] - f.box[1]))
            templates.append(pipeline.embed(frame, largest))
    for i, a in enumerate(features):
        for j, b in enumerate(features):
            assert float(a @ b) == pytest.approx(compare(templates[i], templates[j]), abs=1e-6)


def test_no_face_is_an_empty_feature(url):
    """A crop of an empty wall: 200, and an empty list."""
    assert standard_library(url, "reference", encode_png(WALL)) == (
        200,
        {"model_name": "reference", "feature": []},
    )


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "1"])
def test_crops_of_all_kinds_of_png_are_taken(url, crops, mode):
    """Grey, palette and transparent PNGs are decoded; none is an error."""
    with Image.open(io.BytesIO(crops[PEOPLE[0]][0])) as image:
        buffer = io.BytesIO()
        image.convert(mode).save(buffer, format="PNG")
    status, answer = standard_library(url, "reference", buffer.getvalue())
    assert status == 200
    assert len(answer["feature"]) in ((128,) if mode in ("L", "P", "RGBA") else (0, 128))


@pytest.mark.parametrize("size", [(1, 1), (256, 1), (1, 256), (3, 3), (256, 256)])
def test_crops_of_all_sizes_are_taken(url, size):
    """From one pixel to the largest: an answer."""
    assert standard_library(url, "reference", encode_png(np.full((*size, 3), 90, np.uint8)))[0] == 200


def test_the_same_crop_gives_the_same_feature_from_all_threads(models, crops):
    """Several pipelines work at a time, and none disturbs another."""
    pngs = [png for pair in crops.values() for png in pair]
    with Models({"reference": models}, workers=3) as served:
        alone = [served.embed("reference", png) for png in pngs]
        with ThreadPoolExecutor(3) as pool:
            together = list(pool.map(lambda png: served.embed("reference", png), pngs * 5))
    assert all(np.array_equal(a, b) for a, b in zip(alone * 5, together, strict=True))


def test_models_that_make_no_pipeline_are_refused(models):
    """A recogniser without a detector cannot find the face on a crop."""
    with pytest.raises(BuildError):
        Models({"x": [model for model in models if model.info.role == "recognizer"]})


# A folder of photographs.


@pytest.fixture
def folder(tmp_path, photographs):
    """Photographs as a person has them: folders of people, a wall, a file that is no image."""
    for seed, pictures in photographs.items():
        (tmp_path / "in" / str(seed)).mkdir(parents=True)
        for number, pixels in enumerate(pictures):
            Image.fromarray(pixels).save(tmp_path / "in" / str(seed) / f"{number}.png")
    Image.fromarray(WALL).save(tmp_path / "in" / "wall.png")
    (tmp_path / "in" / "broken.jpg").write_bytes(b"no image")
    return tmp_path / "in"


def detector_of(models) -> Model:
    """The detector among them."""
    return next(model for model in models if model.info.role == "detector")


def test_a_folder_becomes_features(url, models, folder, tmp_path):
    """One file for each photograph, its owner's alone; nothing in the folder says where the endpoint is."""
    target = tmp_path / "out"
    with FeatureClient(url, "reference") as client:
        result = collect_features(folder, target, [client], detector_of(models), lawful_basis="rendered people")
    assert (result.images, result.features, result.no_face_here, result.unreadable) == (8, 6, 1, 1)
    assert result.length == 128
    feature = np.load(target / str(PEOPLE[0]) / "0.npy")
    assert (feature.dtype, feature.shape) == (np.float32, (128,))
    assert np.load(target / "wall.npy").shape == np.load(target / "broken.npy").shape == (0,)
    for path in target.rglob("*"):
        assert path.stat().st_mode & 0o077 == 0
        assert path.is_dir() or url.encode() not in path.read_bytes()
        assert path.is_dir() or b"127.0.0.1" not in path.read_bytes()


def test_a_run_that_was_broken_off_goes_on(url, models, folder, tmp_path):
    """What is done is not sent again; a photograph that changed is; a half written line is no harm."""
    target = tmp_path / "out"

    class Tired(FeatureClient):
        def features(self, png):
            if self.sent == 3:
                raise EndpointError("enough")
            return super().features(png)

    with Tired(url, "reference") as client, pytest.raises(EndpointError):
        collect_features(folder, target, [client], detector_of(models), lawful_basis="b")
    with (target / JOURNAL).open("a") as journal:
        journal.write('{"feature": "x.np')
    changed = folder / str(PEOPLE[0]) / "0.png"
    changed.write_bytes((folder / str(PEOPLE[1]) / "1.png").read_bytes())
    with FeatureClient(url, "reference") as client:
        result = collect_features(folder, target, [client], detector_of(models), lawful_basis="b")
        assert client.sent == 4  # three that were missing, and the one that changed
    assert (result.images, result.features, result.before) == (8, 6, 2)
    again = np.load(target / str(PEOPLE[0]) / "0.npy")
    assert np.array_equal(again, np.load(target / str(PEOPLE[1]) / "1.npy"))


def test_several_requests_at_a_time_change_nothing(url, models, folder, tmp_path):
    """Four clients bring the same files as one; when one of them fails, what the others brought is kept."""
    with FeatureClient(url, "reference") as client:
        collect_features(folder, tmp_path / "one", [client], detector_of(models), lawful_basis="b")
    seen = []

    class Unlucky(FeatureClient):
        def features(self, png):
            seen.append(1)
            if len(seen) == 2:
                raise EndpointError("enough")
            return super().features(png)

    clients = [Unlucky(url, "reference") for _ in range(4)]
    with pytest.raises(EndpointError):
        collect_features(folder, tmp_path / "four", clients, detector_of(models), lawful_basis="b")
    done = len((tmp_path / "four" / JOURNAL).read_text().splitlines()) - 1
    assert done == len(list((tmp_path / "four").rglob("*.npy"))) >= 1
    clients = [FeatureClient(url, "reference") for _ in range(4)]
    result = collect_features(folder, tmp_path / "four", clients, detector_of(models), lawful_basis="b")
    assert (result.images, result.features, result.before) == (8, 6, done)
    for path in (tmp_path / "one").rglob("*.npy"):
        assert path.read_bytes() == (tmp_path / "four" / path.relative_to(tmp_path / "one")).read_bytes()
    for client in clients:
        client.close()


def test_features_made_in_another_way_are_not_mixed(url, models, folder, tmp_path):
    """Another lawful basis, detector or model, or a folder of something else, ends it before anything is sent."""
    target = tmp_path / "out"
    with FeatureClient(url, "reference") as client:
        collect_features(folder, target, [client], detector_of(models), lawful_basis="b")
        sent = client.sent
        for detector, basis in ((detector_of(models), "c"), (None, "b")):
            with pytest.raises(OutputFileError):
                collect_features(folder, target, [client], detector, lawful_basis=basis)
        (tmp_path / "full").mkdir()
        (tmp_path / "full" / "x").touch()
        with pytest.raises(OutputFileError):
            collect_features(folder, tmp_path / "full", [client], detector_of(models), lawful_basis="b")
        assert client.sent == sent


def test_crops_are_sent_as_they_are(url, crops, tmp_path):
    """Without a detector here, photographs are crops already."""
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.png").write_bytes(crops[PEOPLE[0]][0])
    with FeatureClient(url, "reference") as client:
        result = collect_features(tmp_path / "in", tmp_path / "out", [client], None, lawful_basis="b")
        assert np.array_equal(np.load(tmp_path / "out" / "a.npy"), client.features(crops[PEOPLE[0]][0]))
    assert result.features == 1


def test_two_photographs_of_one_name_are_told(url, tmp_path):
    """a.png and a.jpg would have the same feature's name; an empty folder has none."""
    (tmp_path / "in").mkdir()
    with FeatureClient(url, "reference") as client:
        with pytest.raises(DatasetError, match="no photographs"):
            collect_features(tmp_path / "in", tmp_path / "out", [client], None, lawful_basis="b")
        for name in ("a.png", "a.jpg"):
            (tmp_path / "in" / name).touch()
        with pytest.raises(DatasetError, match="same name"):
            collect_features(tmp_path / "in", tmp_path / "out", [client], None, lawful_basis="b")
    assert not (tmp_path / "out").exists()


def test_a_refusal_ends_a_run_and_keeps_what_was_done(url, crops, tmp_path):
    """A model that is not served: an error, and no file that looks like a feature."""
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.png").write_bytes(crops[PEOPLE[0]][0])
    with FeatureClient(url, "other") as client, pytest.raises(EndpointRefusedError, match="403"):
        collect_features(tmp_path / "in", tmp_path / "out", [client], None, lawful_basis="b")
    assert not list((tmp_path / "out").glob("*.npy"))
