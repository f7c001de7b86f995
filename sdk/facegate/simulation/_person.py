"""From a person to a layer of pixels."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from facegate.simulation import _hair, _wear
from facegate.simulation._head import Shape
from facegate.simulation._layer import Layer
from facegate.simulation._mesh import Mesh, rotation
from facegate.simulation._paint import Skin, paint_cloth, paint_glasses, paint_hair
from facegate.simulation._raster import Hits, rasterize
from facegate.simulation._scene import TrueFace

if TYPE_CHECKING:
    from collections.abc import Sequence

    from facegate.simulation._arrays import Floats, Ints
    from facegate.simulation._light import Light
    from facegate.simulation._scene import Person


# Small heads are rendered at this many pixels per cm and averaged down: edges come out smooth.
_FINE = 6.0
# Beyond this turn no face is seen.
PROFILE = 80.0
# Cells of the map of shadows, in cm, and how far behind the caster a shadow starts.
_CELL, _BIAS = 0.8, 0.9
_OUTLINE = np.stack([f(np.linspace(0, 2 * np.pi, 48, endpoint=False)) for f in (np.cos, np.sin)]).astype(np.float32)


def draw(person: Person, light: Light, width: int, height: int) -> tuple[Layer | None, TrueFace | None]:
    """Render one person for a picture of width x height pixels.

    Returns:
        The layer, None if the person is outside the picture, and the face, None if it is turned away or outside.
    """
    shape = Shape(person.identity, person.look)
    turn = rotation(person.yaw, person.pitch, person.roll)
    marks = shape.landmarks()
    camera = _Camera(person, turn @ marks[:2].mean(0))
    meshes = _surfaces(shape, person, turn)
    sheets = [m.moved(turn, np.zeros(3, np.float32)) for m in _wear.glasses(shape)]
    meshes += sheets[1:]
    points = np.concatenate([m.points.reshape(-1, 3) for m in meshes])
    flat = camera(points)
    low = np.maximum(np.floor(flat[:, :2].min(0)).astype(int) - 1, 0)
    high = np.minimum(np.ceil(flat[:, :2].max(0)).astype(int) + 1, (width, height))
    if (high - low).min() < 1:
        return None, None
    outline = camera(meshes[0].points[_wear.outline(meshes[0].canon)])[:, :2]
    truth = None
    if abs(person.yaw) < PROFILE:
        box = np.concatenate((outline.min(0), outline.max(0))).astype(np.float32)
        seen = np.ascontiguousarray(camera(marks @ turn.T)[:, :2])
        truth = TrueFace(box, seen, person, 0.0, float(person.scale * person.identity.eye_distance))

    fine = float(np.clip(_FINE / person.scale, 1.0, 2.5))
    size = np.ceil((high - low) * fine).astype(int)
    zoom = (size / (high - low)).astype(np.float32)
    flat[:, :2] = (flat[:, :2] - low) * zoom
    canvas = _Canvas(int(size[0]), int(size[1]), person, light)
    canvas.paint(meshes, flat, shadows(points, light))
    if sheets:
        flat = camera(sheets[0].points.reshape(-1, 3))
        flat[:, :2] = (flat[:, :2] - low) * zoom
        canvas.glaze(sheets[0], flat)
    planes = (*(canvas.color[..., c] for c in range(3)), canvas.alpha, canvas.face)
    if fine > 1:
        shape_ = (int(high[0] - low[0]), int(high[1] - low[1]))
        planes = tuple(_shrink(plane, shape_) for plane in planes)
    layer = Layer(
        np.stack(planes[:3], -1), planes[3], planes[4], _area(outline) if truth else 1.0, (int(low[0]), int(low[1]))
    )
    return layer, truth


def _shrink(plane: Floats, size: tuple[int, int]) -> Floats:
    image = Image.fromarray(np.ascontiguousarray(plane))
    return np.array(image.resize(size, Image.Resampling.BOX), np.float32)


def _area(points: Floats) -> float:
    """Of the convex outline of points (N, 2), in the unit of the points squared."""
    corners = points[np.argmax(points @ _OUTLINE, axis=0)]
    x, y = corners.T
    return float(abs(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1))) / 2)


class _Camera:
    """A pinhole before the person: points in cm become x, y in pixels and z with larger nearer."""

    def __init__(self, person: Person, eyes: Floats) -> None:
        self._person, self._eyes = person, eyes

    def __call__(self, points: Floats) -> Floats:
        p = self._person
        out = np.array(points, np.float32)
        near = p.distance / np.maximum(p.distance - (out[:, 2] - self._eyes[2]), 5.0) * p.scale
        out[:, 0] = p.x + (out[:, 0] - self._eyes[0]) * near
        out[:, 1] = p.y - (out[:, 1] - self._eyes[1]) * near
        return out


def _surfaces(shape: Shape, person: Person, turn: Floats) -> list[Mesh]:
    """All that is opaque, turned as it stands before the camera; the head first."""
    still = np.zeros(3, np.float32)
    turning = [shape.head(), *shape.ears(), *_hair.hair(shape), *_hair.covering(shape)]
    turning += [*_wear.mask(shape), *_wear.hand(shape)]
    meshes = [m.moved(turn, still) for m in turning]
    # Neck and body follow the head in part, about the neck's lower end.
    away = 180.0 if abs(person.yaw) > 90 else 0.0  # noqa: PLR2004 - whoever shows the back of the head
    yaw = person.yaw - away
    pivot = np.array([0, -9.0, -2.0], np.float32)
    for parts, share in (([shape.neck()], 0.6), (_wear.body(shape), 0.25)):
        follow = rotation(away + share * yaw, 0.45 * share * person.pitch, share * person.roll)
        meshes += [m.moved(follow, turn @ pivot - follow @ pivot) for m in parts]
    return meshes


def shadows(points: Floats, light: Light) -> Floats:
    """How much of the lamp's light reaches each point, 0..1: points (N, 3) shade each other."""
    toward = np.array(light.direction, np.float32)
    side = np.cross(toward, (0.0, 1.0, 0.0)).astype(np.float32)
    side /= max(float(np.linalg.norm(side)), 1e-6)
    up = np.cross(side, toward)
    u = ((points @ side) / _CELL).astype(np.int32) + 64
    v = ((points @ up) / _CELL).astype(np.int32) + 64
    inside = (u > 0) & (u < 127) & (v > 0) & (v < 127)  # noqa: PLR2004 - the map's inner cells
    cell = np.where(inside, v * 128 + u, 0)
    depth = points @ toward
    nearest = np.full(128 * 128, -1e9, np.float32)
    np.maximum.at(nearest, cell, depth)
    nearest[0] = -1e9
    lit = np.zeros(len(points), np.float32)
    for step in (0, 1, -1, 128, -128):
        gap = nearest[np.clip(cell + step, 0, 128 * 128 - 1)] - depth - _BIAS
        lit += 0.2 * np.clip(1 - gap / 0.5, 0, 1)
    return lit


class _Canvas:
    """What one person looks like, pixel by pixel."""

    def __init__(self, width: int, height: int, person: Person, light: Light) -> None:
        self._width, self._height, self._person, self._light = width, height, person, light
        self.color = np.zeros((height, width, 3), np.float32)
        self.alpha = np.zeros((height, width), np.float32)
        self.face = np.zeros((height, width), np.float32)
        self._depth = np.full(height * width, -np.inf, np.float32)

    def paint(self, meshes: Sequence[Mesh], flat: Floats, lit: Floats) -> None:
        """Paint opaque surfaces: `flat` are their points in pixels, `lit` what light reaches each."""
        counts = [m.points.shape[0] * m.points.shape[1] for m in meshes]
        starts = np.concatenate(([0], np.cumsum(counts)[:-1]))
        triangles = [m.triangles for m in meshes]
        numbers = [len(t) for t in triangles]
        corners = np.concatenate([t + start for t, start in zip(triangles, starts, strict=True)])
        solid = np.repeat([m.solid for m in meshes], numbers)
        hits = rasterize(flat, corners, self._width, self._height, cull=solid)
        table = np.empty((len(flat), 7), np.float32)
        table[:, :3] = np.concatenate([m.canon.reshape(-1, 3) for m in meshes])
        table[:, 3:6] = np.concatenate([m.normals() for m in meshes])
        table[:, 6] = lit
        values = _blend(table, corners[hits.triangle], hits.weights)
        self._depth[hits.pixel] = hits.depth
        materials = list(dict.fromkeys(m.material for m in meshes))
        kinds = np.repeat([materials.index(m.material) for m in meshes], numbers)[hits.triangle]
        albedo = np.empty((len(kinds), 3), np.float32)
        gloss = np.empty(len(kinds), np.float32)
        face = self.face.reshape(-1)
        for kind, material in enumerate(materials):
            at = np.flatnonzero(kinds == kind)
            if not len(at):
                continue
            canon = values[at, :3]
            albedo[at], gloss[at] = self._material(material, canon)
            if material == "skin":
                face[hits.pixel[at]] = _wear.outline(canon)
        shade = self._shade(albedo, gloss, values[:, 3:6], values[:, 6])
        self.color.reshape(-1, 3)[hits.pixel] = shade
        self.alpha.reshape(-1)[hits.pixel] = 1

    def _material(self, material: str, canon: Floats) -> tuple[Floats, Floats]:
        identity, look = self._person.identity, self._person.look
        if material == "skin":
            return Skin(identity, look).paint(canon)
        if material == "hair":
            return paint_hair(identity, canon)
        if material in ("ear", "neck", "hand"):
            color = np.empty((len(canon), 3), np.float32)
            color[:] = identity.skin
            if material == "ear":
                # The hollow of the ear.
                color *= (1 - 0.45 * np.exp(-0.5 * ((canon[:, 1] / 0.55) ** 2 + (canon[:, 2] / 0.5) ** 2)))[:, None]
                color[:, 1:] *= 0.92
            elif material == "neck":
                # The chin shades it.
                color *= (0.55 + 0.45 * np.clip((-9.0 - canon[:, 1]) / 5.0, 0, 1))[:, None]
            return color, np.full(len(canon), 0.2, np.float32)
        if material == "temple":
            return np.full((len(canon), 3), 0.03, np.float32), np.full(len(canon), 0.3, np.float32)
        return paint_cloth(canon, look.style, material)

    def _shade(self, albedo: Floats, gloss: Floats, normal: Floats, lit: Floats) -> Floats:
        """The light that a surface sends to the camera.

        Lambert's law with light that wraps round the terminator, red the most as in skin, light from above and below
        for the surroundings, and Blinn and Phong's highlight.
        """
        light = self._light
        x, y, z = normal.T
        length = 1 / np.maximum(np.sqrt(x * x + y * y + z * z), 1e-6)
        # Cloth and hair are seen from both sides.
        length[z * length < -0.2] *= -1  # noqa: PLR2004
        normal = normal * length[:, None]
        toward = np.array(light.direction, np.float32)
        facing = normal @ toward
        wrap = np.array((0.26, 0.15, 0.11), np.float32)
        diffuse = np.clip((facing[:, None] + wrap) / (1 + wrap), 0, None) * (0.12 + 0.88 * lit)[:, None]
        above = 0.5 + 0.5 * normal[:, 1:2]
        around = np.array(light.ambient, np.float32) * above + np.array(light.ground, np.float32) * (1 - above)
        out = albedo * (diffuse * np.array(light.color, np.float32) + around)
        half = toward + np.array((0, 0, 1), np.float32)
        half /= max(float(np.linalg.norm(half)), 1e-6)
        glance = np.clip(normal @ half, 0, None)
        square = glance * glance
        fourth = square * square
        eighth = fourth * fourth
        shine = gloss * (0.16 * eighth * eighth * square + 0.1 * fourth * glance)
        wet = np.flatnonzero(gloss > 1)
        shine[wet] = 0.75 * glance[wet] ** 90
        shine *= lit
        out += shine[:, None] * np.array(light.color, np.float32)
        if light.back:
            rim = light.back * np.clip(1 - normal[:, 2], 0, 1) ** 4
            out += (0.7 * rim)[:, None] * (albedo + np.float32(0.05))
        return np.asarray(out, np.float32)

    def glaze(self, mesh: Mesh, flat: Floats) -> None:
        """Lay glasses over what is painted already, where they are nearer."""
        corners = mesh.triangles
        hits = rasterize(flat, corners, self._width, self._height, cull=np.zeros(len(corners), bool))
        near = hits.depth > self._depth[hits.pixel]
        hits = Hits(hits.pixel[near], hits.triangle[near], hits.weights[near], hits.depth[near])
        if not len(hits.pixel):
            return
        table = np.concatenate((mesh.canon.reshape(-1, 3), mesh.normals()), 1)
        values = _blend(table, corners[hits.triangle], hits.weights)
        color, alpha, gloss = paint_glasses(self._person.look, values[:, :3])
        shade = self._shade(color, gloss, values[:, 3:6], np.ones(len(alpha), np.float32))
        flat_color, flat_alpha = self.color.reshape(-1, 3), self.alpha.reshape(-1)
        # A reflection on clear glass adds light; frame and dark lenses replace what is behind them.
        flat_color[hits.pixel] *= (1 - alpha)[:, None]
        flat_color[hits.pixel] += shade * np.maximum(alpha, 0.12 * (gloss > 0.8))[:, None]  # noqa: PLR2004
        flat_alpha[hits.pixel] = np.maximum(flat_alpha[hits.pixel], alpha)
        self.face.reshape(-1)[hits.pixel] *= 1 - alpha


def _blend(table: Floats, corners: Ints, weights: Floats) -> Floats:
    """Values of points (V, K) between the corners (N, 3) of triangles: (N, K)."""
    out = table[corners[:, 0]] * weights[:, :1]
    out += table[corners[:, 1]] * weights[:, 1:2]
    out += table[corners[:, 2]] * weights[:, 2:]
    return np.asarray(out, np.float32)
