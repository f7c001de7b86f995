"""The three nets. All of torch; plain 3x3 convolutions where others use depthwise ones.

On the two cores that train them, a depthwise net of the same size is four times slower to train (docs/adr/0013), and at
these sizes both run in a few milliseconds on a device.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

STRIDES = (8, 16, 32)
EMBEDDING = 128
# Raw pixels 0..255 are fed; the first weights are that much smaller at export.
PIXEL_SCALE = 1 / 64


def conv(
    inputs: int, outputs: int, kernel: int = 3, stride: int = 1, groups: int = 1, *, act: str = "relu"
) -> nn.Sequential:
    """Convolution, batch normalisation, activation ("relu", "prelu" or "")."""
    layers: list[nn.Module] = [
        nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False),
        nn.BatchNorm2d(outputs),
    ]
    if act:
        layers.append(nn.PReLU(outputs) if act == "prelu" else nn.ReLU())
    return nn.Sequential(*layers)


class Residual(nn.Module):
    """x + conv(conv(x)), rectified."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = conv(channels, channels)
        self.second = conv(channels, channels, act="")

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to the same."""
        return torch.relu(x + self.second(self.first(x)))


class Everywhere(nn.Conv2d):
    """A depthwise convolution as large as the map that it is made for; for smaller maps its weights are averaged.

    So a net can begin its training on smaller pictures, where a picture costs less.

    Args:
        channels: C.
        side: of that map.
    """

    def __init__(self, channels: int, side: int) -> None:
        super().__init__(channels, channels, side, groups=channels, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, side, side), or smaller, to (N, C, 1, 1)."""
        if x.shape[2:] == self.weight.shape[2:]:
            return super().forward(x)
        size = x.shape[2], x.shape[3]
        share = self.weight.shape[2] * self.weight.shape[3] / (size[0] * size[1])
        weight = nn.functional.adaptive_avg_pool2d(self.weight, size) * share
        return nn.functional.conv2d(x, weight, groups=self.groups)


def _global_depthwise(channels: int, side: int, *, act: str = "") -> list[nn.Module]:
    """MobileFaceNet's way to a vector: a convolution as large as the map, which weighs places by channel."""
    layers: list[nn.Module] = [
        Everywhere(channels, side),
        nn.BatchNorm2d(channels),
    ]
    if act:
        layers.append(nn.PReLU(channels))
    return [*layers, nn.Flatten()]


class Recognizer(nn.Module):
    """RGB (N, 3, 112, 112), (pixel - 127.5) / 127.5, to an embedding (N, 128), not normalised.

    Multiples of 16 pixels below 112 are taken too, in training.
    """

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            conv(3, 16, 3, 2),
            conv(16, 32, 3, 2),
            Residual(32),
            conv(32, 64, 3, 2),
            Residual(64),
            Residual(64),
            conv(64, 88, 3, 2),
            Residual(88),
            conv(88, 192, 1),
            *_global_depthwise(192, 7),
        )
        self.embed = nn.Linear(192, EMBEDDING, bias=False)
        self.norm = nn.BatchNorm1d(EMBEDDING, affine=False)

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        values: Tensor = self.norm(self.embed(self.body(x)))
        return values


class Detector(nn.Module):
    """BGR (N, 3, H, W), raw pixels times `PIXEL_SCALE`, to maps of 16 channels at strides 8, 16 and 32.

    One net with maps at stride 8 looks at the picture, at its half and at its quarter (the means of 2x2 pixels): what
    it finds there are the maps at strides 16 and 32. So it need only know faces of two and a half octaves of sizes, and
    learns from each face whatever its size.

    Channels: class and objectness (logits), box (dx, dy, log w, log h) and five landmarks (dx, dy), in strides from the
    cell's corner: YuNet's.
    """

    def __init__(self) -> None:
        super().__init__()
        width = 48
        self.stem = nn.Sequential(conv(3, 16, 3, 2), conv(16, 32, 3, 2))
        self.near = nn.Sequential(conv(32, width, 3, 2), Residual(width))
        self.far = nn.Sequential(conv(width, 64, 3, 2), Residual(64))
        self.lateral = nn.ModuleList([conv(width, width, 1), conv(64, width, 1)])
        self.judge = conv(width, 24)
        self.locate = nn.Sequential(conv(width, 48), conv(48, 48))
        self.score = nn.Conv2d(24, 2, 1)
        self.place = nn.Conv2d(48, 14, 1)
        nn.init.constant_(self.score.bias, -4.0)  # type: ignore[arg-type]
        self.up = nn.Upsample(scale_factor=2, mode="nearest")
        # A mean of four as a convolution: XNNPACK has no int8 kernel for means.
        self.pool = nn.Conv2d(3, 3, 2, 2, groups=3, bias=False)
        self.pool.weight = nn.Parameter(torch.full((3, 1, 2, 2), 0.25), requires_grad=False)

    def features(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """What scores (N, 24, H / 8, W / 8) and places (N, 48, H / 8, W / 8) are read from."""
        near = self.near(self.stem(x))
        feature = self.lateral[0](near) + self.up(self.lateral[1](self.far(near)))
        return self.judge(feature), self.locate(feature)

    def one(self, x: Tensor) -> Tensor:
        """The map (N, 16, H / 8, W / 8) of a picture itself."""
        judged, located = self.features(x)
        # A coordinate in bfloat16 is good to half a per cent only: the last layer is float32 under autocast too.
        with torch.autocast("cpu", enabled=False):
            return torch.cat([self.score(judged.float()), self.place(located.float())], 1)

    def pictures(self, x: Tensor) -> list[Tensor]:
        """The picture, its half and its quarter."""
        half = self.pool(x)
        return [x, half, self.pool(half)]

    def forward(self, x: Tensor) -> list[Tensor]:
        """See the class."""
        maps = []
        for level, picture in enumerate(self.pictures(x)):
            values = self.one(picture)
            values[:, _POINTS] += middle_of(level)
            maps.append(values)
        return maps


# Of a map's channels: what is a place in strides, not a size.
_POINTS = [2, 3, *range(6, 16)]


def middle_of(level: int) -> float:
    """Where the first pixel of a picture's 1/2**level lies in the picture, in the level's strides.

    A pixel's coordinates are those of its middle: the first of a half is the mean of pixels 0 and 1, at 0.5.
    """
    return float(2**level - 1) / 2 / STRIDES[level]


class Liveness(nn.Module):
    """BGR (N, 3, 80, 80), raw pixels times `PIXEL_SCALE`, to 3 logits: paper, live, screen."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            conv(3, 16, 3, 2),
            Residual(16),
            conv(16, 32, 3, 2),
            Residual(32),
            conv(32, 48, 3, 2),
            Residual(48),
            conv(48, 64, 1, act="prelu"),
            conv(64, 64, 3, 2, 64, act="prelu"),
            *_global_depthwise(64, 5, act="prelu"),
        )
        self.drop = nn.Dropout(0.2)
        self.logits = nn.Linear(64, 3)

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        values: Tensor = self.logits(self.drop(self.body(x)))
        return values


def parameters(net: nn.Module) -> int:
    """How many numbers are learnt."""
    return sum(p.numel() for p in net.parameters() if p.requires_grad)


class Average:
    """The running average of a net's weights, which is what is exported: it is ahead of the net at a high rate.

    Args:
        net: whose weights are averaged.
        decay: the weight of the past at each step, reached slowly.
    """

    def __init__(self, net: nn.Module, decay: float = 0.999) -> None:
        self._decay = decay
        self._steps = 0
        self.state = {k: v.detach().clone() for k, v in net.state_dict().items()}

    def update(self, net: nn.Module) -> None:
        """Take one more step in."""
        self._steps += 1
        decay = min(self._decay, self._steps / (self._steps + 10))
        here: list[Tensor] = []
        there: list[Tensor] = []
        for name, value in net.state_dict().items():
            if value.dtype.is_floating_point:
                here.append(self.state[name])
                there.append(value.detach())
            else:
                self.state[name].copy_(value)
        torch._foreach_lerp_(here, there, 1 - decay)

    def load_into(self, net: nn.Module) -> None:
        """Give the average to a net."""
        net.load_state_dict(self.state)


def names() -> Sequence[str]:
    """The detector's outputs: YuNet's names."""
    return [f"{part}_{stride}" for part in ("cls", "obj", "bbox", "kps") for stride in STRIDES]
