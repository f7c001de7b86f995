"""Parts that several architectures share: convolutions with what follows them, attention, residual blocks."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812 - its usual name


def unit(
    into: int, out: int, kernel: int = 3, stride: int = 1, *, groups: int = 1, act: nn.Module | None = None
) -> nn.Sequential:
    """Conv, BatchNorm, activation."""
    layers = [nn.Conv2d(into, out, kernel, stride, kernel // 2, groups=groups, bias=False), nn.BatchNorm2d(out)]
    return nn.Sequential(*layers, *([act] if act is not None else []))


class Flat(nn.Module):
    """Everything but the batch as one axis."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Flatten."""
        return torch.flatten(x, 1)


class Excite(nn.Module):
    """Squeeze and excitation, by adaptive pooling or by a mean, with a sigmoid or its hard form."""

    def __init__(self, channels: int, *, hard: bool = True, mean: bool = False, linear: bool = False) -> None:
        super().__init__()
        inner = max(4, channels // 4)
        self.mean, self.linear = mean, linear
        make = nn.Linear if linear else lambda a, b: nn.Conv2d(a, b, 1)
        self.squeeze, self.excite = make(channels, inner), make(inner, channels)
        self.gate = nn.Hardsigmoid() if hard else nn.Sigmoid()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Weigh the channels."""
        if self.linear:
            y = F.adaptive_avg_pool2d(x, 1).view(x.size(0), -1)
            return x * self.gate(self.excite(F.relu(self.squeeze(y)))).view(x.size(0), -1, 1, 1)
        y = x.mean((2, 3), keepdim=True) if self.mean else F.adaptive_avg_pool2d(x, 1)
        return x * self.gate(self.excite(F.relu(self.squeeze(y))))


class Inverted(nn.Module):
    """An inverted bottleneck: expand, depthwise, (squeeze and excite,) project."""

    def __init__(
        self,
        into: int,
        out: int,
        stride: int,
        act: type[nn.Module],
        *,
        kernel: int = 3,
        excite: nn.Module | None = None,
    ) -> None:
        super().__init__()
        inner = into * 3
        self.body = nn.Sequential(
            unit(into, inner, 1, act=act()),
            unit(inner, inner, kernel, stride, groups=inner, act=act()),
            *([excite] if excite is not None else []),
            unit(inner, out, 1),
        )
        self.residual = stride == 1 and into == out

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """With the input added where shapes allow."""
        return x + self.body(x) if self.residual else self.body(x)


class Pyramid(nn.Module):
    """A small backbone that gives the maps of strides 8, 16 and 32."""

    def __init__(self, channels: int = 8, act: type[nn.Module] = nn.ReLU) -> None:
        super().__init__()
        c = channels
        self.stem = nn.Sequential(unit(3, c, 3, 2, act=act()), unit(c, c, 3, 2, act=act()))
        self.stages = nn.ModuleList(
            nn.Sequential(unit(a, b, 3, 2, act=act()), unit(b, b, act=act()))
            for a, b in ((c, c), (c, 2 * c), (2 * c, 4 * c))
        )

    def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
        """The three maps, finest first."""
        x, maps = self.stem(x), []
        for stage in self.stages:
            x = stage(x)
            maps.append(x)
        return maps


class ChannelNorm(nn.Module):
    """LayerNorm over the channels of an image, as ConvNeXt writes it: mean, squares, square root."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.ones(channels)), nn.Parameter(torch.zeros(channels))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Normalise each pixel."""
        mean = x.mean(1, keepdim=True)
        spread = (x - mean).pow(2).mean(1, keepdim=True)
        return self.weight[:, None, None] * (x - mean) / torch.sqrt(spread + 1e-6) + self.bias[:, None, None]
