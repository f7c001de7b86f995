"""Architectures from an image to boxes: necks, heads and the ways in which exporters write them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from nets_parts import Pyramid, unit
from torch import nn
from torch.nn import functional as F  # noqa: N812 - its usual name

if TYPE_CHECKING:
    from collections.abc import Callable


class _Fpn(nn.Module):
    """A feature pyramid: lateral convolutions, each map added to the coarser one enlarged."""

    def __init__(self, up: str = "size") -> None:
        super().__init__()
        self.up = up
        self.laterals = nn.ModuleList(nn.Conv2d(c, 16, 1) for c in (8, 16, 32))
        self.smooths = nn.ModuleList(nn.Conv2d(16, 16, 3, padding=1) for _ in range(3))
        self.shuffles = nn.ModuleList(nn.Conv2d(16, 64, 1) for _ in range(2))
        self.deconvs = nn.ModuleList(
            (
                nn.ConvTranspose2d(16, 16, 2, 2),
                nn.ConvTranspose2d(16, 16, 4, 2, 1, groups=16, bias=False),
            )
        )

    def _enlarged(self, x: torch.Tensor, like: torch.Tensor, place: int) -> torch.Tensor:
        if self.up == "size":
            return F.interpolate(x, size=like.shape[-2:], mode="nearest")
        if self.up == "scale":
            return F.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=False)
        if self.up == "corners":
            return F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=True)
        if self.up == "shuffle":
            return F.pixel_shuffle(self.shuffles[place](x), 2)
        return self.deconvs[place](x)

    def forward(self, maps: list[torch.Tensor]) -> list[torch.Tensor]:
        rows = [lateral(m) for lateral, m in zip(self.laterals, maps, strict=True)]
        rows[1] = rows[1] + self._enlarged(rows[2], rows[1], 0)
        rows[0] = rows[0] + self._enlarged(rows[1], rows[0], 1)
        return [smooth(r) for smooth, r in zip(self.smooths, rows, strict=True)]


class _Scrfd(nn.Module):
    """Pyramid, path aggregation and heads a level, with a learned scale: the SCRFD form."""

    def __init__(self, up: str = "size", *, norm: bool = False) -> None:
        super().__init__()
        self.body, self.fpn = Pyramid(), _Fpn(up)
        self.downs = nn.ModuleList(nn.Conv2d(16, 16, 3, 2, 1) for _ in range(2))
        self.outs = nn.ModuleList(nn.Conv2d(16, 16, 3, padding=1) for _ in range(2))
        self.tower = nn.Sequential(
            nn.Conv2d(16, 16, 3, padding=1, bias=False), nn.GroupNorm(4, 16) if norm else nn.BatchNorm2d(16), nn.ReLU()
        )
        self.scores, self.boxes, self.points = (
            nn.Conv2d(16, 2, 3, padding=1),
            nn.Conv2d(16, 8, 3, padding=1),
            nn.Conv2d(16, 20, 3, padding=1),
        )
        self.scales = nn.ParameterList(nn.Parameter(torch.tensor(1.0 + i / 4)) for i in range(3))

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        rows = self.fpn(self.body(x))
        rows[1] = rows[1] + self.downs[0](rows[0])
        rows[2] = rows[2] + self.downs[1](rows[1])
        rows[1:] = [out(r) for out, r in zip(self.outs, rows[1:], strict=True)]
        scores, boxes, points = [], [], []
        for row, scale in zip(rows, self.scales, strict=True):
            y = self.tower(row)
            scores.append(self.scores(y).permute(0, 2, 3, 1).reshape(-1, 1).sigmoid())
            boxes.append((self.boxes(y) * scale).permute(0, 2, 3, 1).reshape(-1, 4))
            points.append(self.points(y).permute(0, 2, 3, 1).reshape(-1, 10))
        return (*scores, *boxes, *points)


def fpn_pan() -> nn.Module:
    """FPN by nearest enlargement to the finer map's size, PAN, heads with a learned scale."""
    return _Scrfd("size")


def fpn_bilinear() -> nn.Module:
    """The same with bilinear enlargement and GroupNorm in the heads."""
    return _Scrfd("scale", norm=True)


def fpn_corners() -> nn.Module:
    """The same with bilinear enlargement whose corners are aligned."""
    return _Scrfd("corners")


def fpn_deconv() -> nn.Module:
    """The same with transposed convolutions, plain and depthwise."""
    return _Scrfd("deconv")


class _Ssh(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        act = nn.LeakyReLU
        self.three = unit(16, 8)
        self.five_1, self.five_2 = unit(16, 4, act=act(0.1)), unit(4, 4)
        self.seven_2, self.seven_3 = unit(4, 4, act=act(0.1)), unit(4, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        five = self.five_1(x)
        return F.relu(torch.cat([self.three(x), self.five_2(five), self.seven_3(self.seven_2(five))], dim=1))


class _RetinaFace(nn.Module):
    def __init__(self, up: str) -> None:
        super().__init__()
        self.body, self.fpn = Pyramid(act=nn.LeakyReLU), _Fpn(up)
        self.context = nn.ModuleList(_Ssh() for _ in range(3))
        self.boxes = nn.ModuleList(nn.Conv2d(16, 8, 1) for _ in range(3))
        self.classes = nn.ModuleList(nn.Conv2d(16, 4, 1) for _ in range(3))
        self.points = nn.ModuleList(nn.Conv2d(16, 20, 1) for _ in range(3))

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        rows = [ssh(r) for ssh, r in zip(self.context, self.fpn(self.body(x)), strict=True)]

        def joined(heads: nn.ModuleList, width: int) -> torch.Tensor:
            maps = [head(r).permute(0, 2, 3, 1).contiguous() for head, r in zip(heads, rows, strict=True)]
            return torch.cat([m.view(m.shape[0], -1, width) for m in maps], dim=1)

        return joined(self.boxes, 4), F.softmax(joined(self.classes, 2), dim=-1), joined(self.points, 10)


def retinaface() -> nn.Module:
    """RetinaFace: SSH modules, nearest enlargement, all levels joined, a softmax over two classes."""
    return _RetinaFace("size")


def retinaface_shuffle() -> nn.Module:
    """RetinaFace whose pyramid enlarges by PixelShuffle."""
    return _RetinaFace("shuffle")


class _Csp(nn.Module):
    """C2f: split, a chain of bottlenecks, everything joined."""

    def __init__(self, into: int, out: int, act: type[nn.Module] = nn.SiLU) -> None:
        super().__init__()
        self.start, self.end = unit(into, out, 1, act=act()), unit(out * 2, out, 1, act=act())
        self.chain = nn.ModuleList(unit(out // 2, out // 2, act=act()) for _ in range(2))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        parts = list(self.start(x).chunk(2, 1))
        for step in self.chain:
            parts.append(parts[-1] + step(parts[-1]))
        return self.end(torch.cat(parts, 1))


class _Pooled(nn.Module):
    """SPPF: three maxima over 5x5 windows, one after the other."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.start, self.end = (
            unit(channels, channels // 2, 1, act=nn.SiLU()),
            unit(channels * 2, channels, 1, act=nn.SiLU()),
        )
        self.pool = nn.MaxPool2d(5, 1, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.start(x)
        a = self.pool(x)
        b = self.pool(a)
        return self.end(torch.cat((x, a, b, self.pool(b)), 1))


class _Yolo8(nn.Module):
    """Decoupled heads, distribution focal boxes decoded inside the model."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.pool = Pyramid(act=nn.SiLU), _Pooled(32)
        self.top1, self.top2 = _Csp(48, 16), _Csp(24, 8)
        self.down1, self.down2 = unit(8, 8, 3, 2, act=nn.SiLU()), unit(16, 16, 3, 2, act=nn.SiLU())
        self.bottom1, self.bottom2 = _Csp(24, 16), _Csp(48, 32)
        self.bins = 8
        widths = (8, 16, 32)
        self.boxes = nn.ModuleList(nn.Conv2d(c, 4 * self.bins, 1) for c in widths)
        self.classes = nn.ModuleList(nn.Conv2d(c, 1, 1) for c in widths)
        self.points = nn.ModuleList(nn.Conv2d(c, 15, 1) for c in widths)
        self.dfl = nn.Conv2d(self.bins, 1, 1, bias=False)
        self.dfl.weight.data[:] = torch.arange(self.bins, dtype=torch.float32).view(1, self.bins, 1, 1)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        a, b, c = self.body(x)
        c = self.pool(c)
        b1 = self.top1(torch.cat((F.interpolate(c, scale_factor=2.0), b), 1))
        a1 = self.top2(torch.cat((F.interpolate(b1, scale_factor=2.0), a), 1))
        b2 = self.bottom1(torch.cat((self.down1(a1), b1), 1))
        c2 = self.bottom2(torch.cat((self.down2(b2), c), 1))
        rows = (a1, b2, c2)
        n = x.shape[0]
        both = [torch.cat((box(r), cls(r)), 1) for box, cls, r in zip(self.boxes, self.classes, rows, strict=True)]
        flat = torch.cat([m.view(n, 4 * self.bins + 1, -1) for m in both], 2)
        box, score = flat.split((4 * self.bins, 1), 1)
        cells = box.shape[2]
        box = self.dfl(box.view(n, 4, self.bins, cells).transpose(2, 1).softmax(1)).view(n, 4, cells)
        centers, strides = [], []
        for row, stride in zip(rows, (8, 16, 32), strict=True):
            h, w = row.shape[2:]
            gy, gx = torch.meshgrid(torch.arange(h) + 0.5, torch.arange(w) + 0.5, indexing="ij")
            centers.append(torch.stack((gx, gy), -1).view(-1, 2))
            strides.append(torch.full((h * w, 1), float(stride)))
        anchors, stride = torch.cat(centers).transpose(0, 1).unsqueeze(0), torch.cat(strides).transpose(0, 1)
        lt, rb = box.chunk(2, 1)
        low, high = anchors - lt, anchors + rb
        decoded = torch.cat(((low + high) / 2, high - low), 1) * stride
        points = torch.cat([p(r).view(n, 15, -1) for p, r in zip(self.points, rows, strict=True)], 2).view(n, 5, 3, -1)
        xy = (points[:, :, :2] * 2.0 + (anchors.unsqueeze(1) - 0.5)) * stride
        points = torch.cat((xy, points[:, :, 2:3].sigmoid()), 2).view(n, 15, -1)
        return torch.cat((decoded, score.sigmoid()), 1), points


def yolo8_face() -> nn.Module:
    """A YOLOv8-style detector with SiLU, C2f, SPPF, DFL boxes decoded in the graph, and landmarks."""
    return _Yolo8()


class _Yolo5(nn.Module):
    """Focus stem (strided slices), anchors, boxes decoded by a grid; Mish in the body."""

    def __init__(self) -> None:
        super().__init__()
        self.focus = unit(12, 8, 3, act=nn.Mish())
        self.body = nn.ModuleList(unit(a, b, 3, 2, act=nn.Mish()) for a, b in ((8, 8), (8, 16), (16, 16)))
        self.heads = nn.ModuleList(nn.Conv2d(16, 2 * 16, 1) for _ in range(2))
        self.register_buffer("anchors", torch.rand(2, 1, 2, 1, 1, 2) * 32)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.focus(torch.cat([x[..., i::2, j::2] for j in (0, 1) for i in (0, 1)], 1))
        maps = []
        for step in self.body:
            x = step(x)
            maps.append(x)
        found = []
        for i, (head, row) in enumerate(zip(self.heads, maps[1:], strict=True)):
            y = head(row)
            n, _, h, w = y.shape
            y = y.view(n, 2, 16, h, w).permute(0, 1, 3, 4, 2).contiguous()
            gy, gx = torch.meshgrid(torch.arange(h), torch.arange(w), indexing="ij")
            grid = torch.stack((gx, gy), 2).view(1, 1, h, w, 2).float()
            z = torch.full_like(y, 0)
            z[..., 0:5] = y[..., 0:5].sigmoid()
            z[..., 15:16] = y[..., 15:16].sigmoid()
            z[..., 5:15] = y[..., 5:15]
            xy = (z[..., 0:2] * 2 - 0.5 + grid) * 8 * 2**i
            wh = (z[..., 2:4] * 2) ** 2 * self.anchors[i]
            points = z[..., 5:15].view(n, 2, h, w, 5, 2) * self.anchors[i].unsqueeze(-2) + grid.unsqueeze(-2)
            rows = torch.cat((xy, wh, z[..., 4:5], points.reshape(n, 2, h, w, 10), z[..., 15:]), -1)
            found.append(rows.view(n, -1, 16))
        return torch.cat(found, 1)


def yolo5_face() -> nn.Module:
    """A YOLOv5-face-style detector: Focus, Mish, values assigned to parts of a tensor, anchors and grids inside."""
    return _Yolo5()


class _Blaze(nn.Module):
    """Padding by hand on one side, residuals whose missing channels are zeros, two heads."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 5, 2)
        self.blocks = nn.ModuleList(
            nn.Sequential(nn.Conv2d(a, a, 3, s, 1 if s == 1 else 0, groups=a), nn.Conv2d(a, b, 1))
            for a, b, s in ((8, 8, 1), (8, 12, 2), (12, 12, 1), (12, 24, 2))
        )
        self.score, self.box = nn.Conv2d(24, 2, 1), nn.Conv2d(24, 32, 1)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        x = F.relu(self.stem(F.pad(x, (1, 2, 1, 2))))
        for block in self.blocks:
            out = block[1].out_channels
            if block[0].stride[0] == 2:
                y, short = block(F.pad(x, (0, 2, 0, 2))), F.max_pool2d(x, 2, 2)
            else:
                y, short = block(x), x
            if out > short.shape[1]:
                short = F.pad(short, (0, 0, 0, 0, 0, out - short.shape[1]))
            x = F.relu(y + short)
        n = x.shape[0]
        return self.score(x).permute(0, 2, 3, 1).reshape(n, -1, 1), self.box(x).permute(0, 2, 3, 1).reshape(n, -1, 16)


def blazeface() -> nn.Module:
    """BlazeFace: one-sided padding, channels padded with zeros, strided depthwise convolutions."""
    return _Blaze()


class _Boxes(nn.Module):
    """FaceBoxes: CReLU (a map and its negative), local maxima, offset heads."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = unit(3, 8, 7, 4), unit(16, 8, 5, 2)
        self.center = nn.Conv2d(16, 5, 3, padding=1)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        x = self.first(x)
        x = F.max_pool2d(F.relu(torch.cat((x, -x), 1)), 3, 2, 1, ceil_mode=True)
        x = self.second(x)
        y = self.center(F.relu(torch.cat((x, torch.neg(x)), 1)))
        heat = torch.clamp(y[:, :1].sigmoid(), min=1e-4, max=1 - 1e-4)
        peaks = heat * (F.max_pool2d(heat, 3, 1, 1) == heat).float()
        return peaks, y[:, 1:].exp()


def centerface() -> nn.Module:
    """CReLU and CenterFace's peaks: a heat map where it equals its local maximum, sizes by exp."""
    return _Boxes()


class _HighResolution(nn.Module):
    """HRNet: two resolutions that exchange what they know; unshuffled input, shuffled output."""

    def __init__(self) -> None:
        super().__init__()
        self.fine, self.coarse = unit(12, 8, act=nn.ReLU()), unit(8, 16, 3, 2, act=nn.ReLU())
        self.up, self.down = unit(16, 8, 1), unit(8, 16, 3, 2)
        self.last = nn.Conv2d(24, 4 * 5, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        a = self.fine(F.pixel_unshuffle(x, 2))
        b = self.coarse(a)
        a, b = F.relu(a + F.interpolate(self.up(b), scale_factor=2, mode="nearest")), F.relu(b + self.down(a))
        y = torch.cat((a, F.interpolate(b, size=a.shape[2:], mode="bilinear", align_corners=True)), 1)
        return F.pixel_shuffle(self.last(y), 2)


def hrnet() -> nn.Module:
    """HRNet-style landmarks: resolutions that exchange, PixelUnshuffle before and PixelShuffle after."""
    return _HighResolution()


class _Matched(nn.Module):
    """A head that decides inside the graph: the best class of each anchor, and what is below a limit put out."""

    def __init__(self) -> None:
        super().__init__()
        self.body = Pyramid()
        self.head = nn.Conv2d(32, 6, 1)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        y = self.head(self.body(x)[2]).flatten(2).transpose(1, 2)
        scores, classes = y[..., :4].softmax(-1).max(-1)
        kept = torch.where(scores > 0.3, scores, torch.zeros_like(scores))
        near = torch.minimum(y[..., 4], y[..., 5]).abs() + torch.maximum(y[..., 4], torch.tensor(math.pi)).floor()
        return kept, classes, near, y.amax(1), y.std(1)


def decided() -> nn.Module:
    """Maximum and ArgMax over classes, Where, minimum, maximum, absolute value, floor, standard deviation."""
    return _Matched()


NETS: dict[str, tuple[Callable[[], nn.Module], int]] = {
    "blazeface": (blazeface, 64),
    "centerface": (centerface, 64),
    "decided": (decided, 64),
    "fpn_bilinear": (fpn_bilinear, 64),
    "fpn_corners": (fpn_corners, 64),
    "fpn_deconv": (fpn_deconv, 64),
    "fpn_pan": (fpn_pan, 64),
    "hrnet": (hrnet, 32),
    "retinaface": (retinaface, 64),
    "retinaface_shuffle": (retinaface_shuffle, 64),
    "yolo5_face": (yolo5_face, 64),
    "yolo8_face": (yolo8_face, 64),
}
