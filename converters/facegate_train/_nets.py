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


class Shared(nn.Module):
    """One convolution for the maps of all strides, each normalised by itself, rectified.

    One normalisation for all would use a stride's own mean in training and the mean of all of them afterwards.
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, 3, 1, 1, bias=False)
        self.norms = nn.ModuleList([nn.BatchNorm2d(outputs) for _ in STRIDES])

    def forward(self, x: Tensor, level: int) -> Tensor:
        """The map of the stride number `level`."""
        return torch.relu(self.norms[level](self.conv(x)))


class Affine(nn.Module):
    """scale * x + offset for each channel: what is left of a normalisation whose convolution is shared."""

    def __init__(self, norm: nn.BatchNorm2d) -> None:
        super().__init__()
        scale = norm.weight.detach() / torch.sqrt(norm.running_var + norm.eps)  # type: ignore[operator,arg-type]
        self.scale = nn.Parameter(scale.reshape(1, -1, 1, 1))
        offset = norm.bias.detach() - norm.running_mean * scale  # type: ignore[operator]
        self.offset = nn.Parameter(offset.reshape(1, -1, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to the same."""
        return x * self.scale + self.offset


def _global_depthwise(channels: int, side: int, *, act: str = "") -> list[nn.Module]:
    """MobileFaceNet's way to a vector: a convolution as large as the map, which weighs places by channel."""
    layers: list[nn.Module] = [
        nn.Conv2d(channels, channels, side, groups=channels, bias=False),
        nn.BatchNorm2d(channels),
    ]
    if act:
        layers.append(nn.PReLU(channels))
    return [*layers, nn.Flatten()]


class Recognizer(nn.Module):
    """RGB (N, 3, 112, 112), (pixel - 127.5) / 127.5, to an embedding (N, 128), not normalised."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            conv(3, 16, 3, 2),
            conv(16, 32, 3, 2),
            Residual(32),
            conv(32, 64, 3, 2),
            Residual(64),
            Residual(64),
            conv(64, 96, 3, 2),
            Residual(96),
            conv(96, 224, 1),
            *_global_depthwise(224, 7),
        )
        self.embed = nn.Linear(224, EMBEDDING, bias=False)
        self.norm = nn.BatchNorm1d(EMBEDDING, affine=False)

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        values: Tensor = self.norm(self.embed(self.body(x)))
        return values


class Detector(nn.Module):
    """BGR (N, 3, H, W), raw pixels times `PIXEL_SCALE`, to maps of 16 channels at strides 8, 16 and 32.

    Channels: class and objectness (logits), box (dx, dy, log w, log h) and five landmarks (dx, dy), in strides from the
    cell's corner: YuNet's.
    """

    def __init__(self) -> None:
        super().__init__()
        width = 40
        self.stem = nn.Sequential(conv(3, 16, 3, 2), conv(16, 24, 3, 2))
        self.p8 = nn.Sequential(conv(24, 40, 3, 2), Residual(40))
        self.p16 = nn.Sequential(conv(40, 48, 3, 2), Residual(48))
        self.p32 = nn.Sequential(conv(48, 48, 3, 2), conv(48, 48))
        self.lateral = nn.ModuleList([conv(40, width, 1), conv(48, width, 1), conv(48, width, 1)])
        # One head for all strides: in strides, a face looks alike at each, and each learns from all faces.
        self.judge = Shared(width, 32)
        self.locate = Shared(width, 48)
        self.score = nn.Conv2d(32, 2, 1)
        self.place = nn.Conv2d(48, 14, 1)
        nn.init.constant_(self.score.bias, -4.0)  # type: ignore[arg-type]
        self.up = nn.Upsample(scale_factor=2, mode="nearest")

    def features(self, x: Tensor) -> list[tuple[Tensor, Tensor]]:
        """What scores (N, 32, H, W) and places (N, 48, H, W) are read from, for each stride."""
        c8 = self.p8(self.stem(x))
        c16 = self.p16(c8)
        c32 = self.p32(c16)
        f32 = self.lateral[2](c32)
        f16 = self.lateral[1](c16) + self.up(f32)
        f8 = self.lateral[0](c8) + self.up(f16)
        return [
            (self.judge(feature, level), self.locate(feature, level)) for level, feature in enumerate((f8, f16, f32))
        ]

    def forward(self, x: Tensor) -> list[Tensor]:
        """See the class."""
        shared = self.features(x)
        # A coordinate in bfloat16 is good to half a per cent only: the last layer is float32 under autocast too.
        with torch.autocast("cpu", enabled=False):
            return [
                torch.cat([self.score(judged.float()), self.place(located.float())], 1) for judged, located in shared
            ]


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
    return sum(p.numel() for p in net.parameters())


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
