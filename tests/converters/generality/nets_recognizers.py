"""Architectures from an image to a vector, narrow but with the published topology; written from the papers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from nets_parts import ChannelNorm, Excite, Flat, Inverted, unit
from torch import nn
from torch.nn import functional as F  # noqa: N812 - its usual name

if TYPE_CHECKING:
    from collections.abc import Callable


class _ResidualUnit(nn.Module):
    def __init__(self, into: int, out: int, stride: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.BatchNorm2d(into),
            nn.Conv2d(into, out, 3, 1, 1, bias=False),
            nn.BatchNorm2d(out),
            nn.PReLU(out),
            nn.Conv2d(out, out, 3, stride, 1, bias=False),
            nn.BatchNorm2d(out),
        )
        self.short = None if stride == 1 and into == out else unit(into, out, 1, stride)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.body(x) + (x if self.short is None else self.short(x))


def iresnet50() -> nn.Module:
    """ArcFace's residual net: pre-normalised units of 3, 4, 14 and 3, dropout, a linear embedding."""
    layers: list[nn.Module] = [unit(3, 8, act=nn.PReLU(8))]
    into = 8
    for out, count in ((8, 3), (16, 4), (24, 14), (32, 3)):
        layers += [_ResidualUnit(into if i == 0 else out, out, 2 if i == 0 else 1) for i in range(count)]
        into = out
    layers += [nn.BatchNorm2d(32), nn.Dropout(0.4), Flat(), nn.Linear(32 * 49, 64), nn.BatchNorm1d(64, affine=False)]
    return nn.Sequential(*layers)


class _MobileFaceNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()

        def block(into: int, out: int, stride: int) -> nn.Module:
            inner = into * 2
            return nn.Sequential(
                unit(into, inner, 1, act=nn.PReLU(inner)),
                unit(inner, inner, 3, stride, groups=inner, act=nn.PReLU(inner)),
                unit(inner, out, 1),
            )

        self.stem = nn.Sequential(unit(3, 16, 3, 2, act=nn.PReLU(16)), unit(16, 16, 3, 1, groups=16, act=nn.PReLU(16)))
        self.blocks = nn.ModuleList()
        self.residual: list[bool] = []
        into = 16
        for out, count, stride in ((16, 5, 2), (32, 1, 2), (32, 6, 1), (32, 1, 2), (32, 2, 1)):
            for i in range(count):
                self.blocks.append(block(into, out, stride if i == 0 else 1))
                self.residual.append(into == out and (i > 0 or stride == 1))
                into = out
        self.head = nn.Sequential(
            unit(32, 64, 1, act=nn.PReLU(64)),
            nn.Conv2d(64, 64, 7, groups=64, bias=False),
            nn.BatchNorm2d(64),
            nn.Conv2d(64, 32, 1, bias=False),
            nn.BatchNorm2d(32),
            Flat(),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.stem(x)
        for block, residual in zip(self.blocks, self.residual, strict=True):
            x = x + block(x) if residual else block(x)
        return F.normalize(self.head(x))


def mobilefacenet() -> nn.Module:
    """MobileFaceNet with PReLU, the global depthwise convolution and a normalised embedding."""
    return _MobileFaceNet()


class _Ghost(nn.Module):
    def __init__(self, into: int, out: int, *, act: bool = True) -> None:
        super().__init__()
        half = (out + 1) // 2
        self.out = out
        self.primary = unit(into, half, 1, act=nn.ReLU() if act else None)
        self.cheap = unit(half, half, 3, groups=half, act=nn.ReLU() if act else None)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.primary(x)
        return torch.cat([y, self.cheap(y)], 1)[:, : self.out]


class _GhostBottleneck(nn.Module):
    def __init__(self, into: int, out: int, stride: int, *, excite: bool) -> None:
        super().__init__()
        inner = into * 2 + 1  # odd: the last ghost is cut
        self.first = _Ghost(into, inner)
        self.down = unit(inner, inner, 3, stride, groups=inner) if stride > 1 else nn.Identity()
        self.excite = Excite(inner) if excite else nn.Identity()
        self.last = _Ghost(inner, out, act=False)
        same = stride == 1 and into == out
        self.short = (
            nn.Identity() if same else nn.Sequential(unit(into, into, 3, stride, groups=into), unit(into, out, 1))
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.last(self.excite(self.down(self.first(x)))) + self.short(x)


def ghostnet() -> nn.Module:
    """GhostNet: cheap depthwise copies joined to a convolution's result and cut to size."""
    return nn.Sequential(
        unit(3, 8, 3, 2, act=nn.ReLU()),
        _GhostBottleneck(8, 8, 1, excite=False),
        _GhostBottleneck(8, 12, 2, excite=True),
        _GhostBottleneck(12, 12, 1, excite=True),
        _GhostBottleneck(12, 16, 2, excite=False),
        unit(16, 32, 1, act=nn.ReLU()),
        nn.AdaptiveAvgPool2d(1),
        nn.Conv2d(32, 48, 1),
        nn.ReLU(),
        Flat(),
        nn.Dropout(0.2),
        nn.Linear(48, 32),
    )


def mobilenetv3() -> nn.Module:
    """MobileNetV3: hard swish, and hard squeeze and excitation inside the bottlenecks."""
    return nn.Sequential(
        unit(3, 8, 3, 2, act=nn.Hardswish()),
        Inverted(8, 8, 2, nn.ReLU, excite=Excite(24)),
        Inverted(8, 12, 2, nn.ReLU),
        Inverted(12, 12, 1, nn.Hardswish, kernel=5, excite=Excite(36, mean=True)),
        Inverted(12, 16, 2, nn.Hardswish, kernel=5, excite=Excite(36)),
        unit(16, 48, 1, act=nn.Hardswish()),
        nn.AdaptiveAvgPool2d(1),
        Flat(),
        nn.Linear(48, 64),
        nn.Hardswish(),
        nn.Linear(64, 32),
    )


def efficientnet_lite() -> nn.Module:
    """EfficientNet-lite: ReLU6 and no squeeze and excitation."""
    return nn.Sequential(
        unit(3, 8, 3, 2, act=nn.ReLU6()),
        Inverted(8, 8, 1, nn.ReLU6),
        Inverted(8, 12, 2, nn.ReLU6, kernel=5),
        Inverted(12, 12, 1, nn.ReLU6, kernel=5),
        Inverted(12, 16, 2, nn.ReLU6),
        unit(16, 48, 1, act=nn.ReLU6()),
        nn.AdaptiveAvgPool2d(1),
        Flat(),
        nn.Linear(48, 32),
    )


def efficientnet() -> nn.Module:
    """EfficientNet: SiLU, and squeeze and excitation with linear layers."""
    return nn.Sequential(
        unit(3, 8, 3, 2, act=nn.SiLU()),
        Inverted(8, 8, 1, nn.SiLU, excite=Excite(24, hard=False)),
        Inverted(8, 12, 2, nn.SiLU, kernel=5, excite=Excite(24, hard=False, linear=True)),
        Inverted(12, 16, 2, nn.SiLU, excite=Excite(36, hard=False, mean=True)),
        unit(16, 48, 1, act=nn.SiLU()),
        nn.AdaptiveAvgPool2d(1),
        Flat(),
        nn.Linear(48, 32),
    )


class _ShuffleUnit(nn.Module):
    def __init__(self, into: int, out: int, stride: int) -> None:
        super().__init__()
        half = out // 2
        self.stride = stride
        start = into if stride > 1 else into // 2
        self.right = nn.Sequential(
            unit(start, half, 1, act=nn.ReLU()),
            unit(half, half, 3, stride, groups=half),
            unit(half, half, 1, act=nn.ReLU()),
        )
        if stride > 1:
            self.left = nn.Sequential(unit(into, into, 3, stride, groups=into), unit(into, half, 1, act=nn.ReLU()))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.stride == 1:
            kept, moved = x.chunk(2, dim=1)
            y = torch.cat((kept, self.right(moved)), 1)
        else:
            y = torch.cat((self.left(x), self.right(x)), 1)
        n, c, h, w = y.size()
        return y.view(n, 2, c // 2, h, w).transpose(1, 2).contiguous().view(n, c, h, w)


def shufflenet() -> nn.Module:
    """ShuffleNetV2: channels split in two, joined and shuffled."""
    return nn.Sequential(
        unit(3, 8, 3, 2, act=nn.ReLU()),
        nn.MaxPool2d(3, 2, 1),
        _ShuffleUnit(8, 16, 2),
        _ShuffleUnit(16, 16, 1),
        _ShuffleUnit(16, 16, 1),
        _ShuffleUnit(16, 32, 2),
        _ShuffleUnit(32, 32, 1),
        unit(32, 64, 1, act=nn.ReLU()),
        nn.AdaptiveAvgPool2d(1),
        Flat(),
        nn.Linear(64, 32),
    )


class _ConvNextBlock(nn.Module):
    def __init__(self, channels: int, *, tanh: bool) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(channels, channels, 7, padding=3, groups=channels)
        self.norm = nn.LayerNorm(channels, eps=1e-6)
        self.wide, self.narrow = nn.Linear(channels, 4 * channels), nn.Linear(4 * channels, channels)
        self.act = nn.GELU(approximate="tanh" if tanh else "none")
        self.gamma = nn.Parameter(torch.full((channels,), 0.5))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.norm(self.depthwise(x).permute(0, 2, 3, 1))
        return x + (self.gamma * self.narrow(self.act(self.wide(y)))).permute(0, 3, 1, 2)


def convnext() -> nn.Module:
    """ConvNeXt: 7x7 depthwise, LayerNorm over the last axis, GELU, linear layers on permuted pixels."""
    return nn.Sequential(
        nn.Conv2d(3, 8, 4, 4),
        ChannelNorm(8),
        _ConvNextBlock(8, tanh=False),
        _ConvNextBlock(8, tanh=True),
        ChannelNorm(8),
        nn.Conv2d(8, 16, 2, 2),
        _ConvNextBlock(16, tanh=False),
        nn.AdaptiveAvgPool2d(1),
        Flat(),
        nn.LayerNorm(16),
        nn.Linear(16, 32),
    )


class _CrossCovariance(nn.Module):
    """Attention between channels (EdgeNeXt, EdgeFace): its size does not grow with the image."""

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.temperature = nn.Parameter(torch.ones(heads, 1, 1))
        self.qkv, self.out = nn.Linear(channels, 3 * channels), nn.Linear(channels, channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        n, tokens, channels = x.shape
        qkv = self.qkv(x).reshape(n, tokens, 3, self.heads, channels // self.heads).permute(2, 0, 3, 4, 1)
        q, k, v = qkv[0], qkv[1], qkv[2]
        q, k = F.normalize(q, dim=-1), F.normalize(k, dim=-1)
        attention = ((q @ k.transpose(-2, -1)) * self.temperature).softmax(dim=-1)
        return self.out((attention @ v).permute(0, 3, 1, 2).reshape(n, tokens, channels))


class _EdgeBlock(nn.Module):
    """Split depthwise transpose attention: depthwise convolutions on parts of the channels, then cross-covariance."""

    def __init__(self, channels: int, parts: int) -> None:
        super().__init__()
        self.width = channels // parts
        self.convs = nn.ModuleList(
            nn.Conv2d(self.width, self.width, 3, padding=1, groups=self.width) for _ in range(parts - 1)
        )
        self.norm1, self.norm2 = nn.LayerNorm(channels), nn.LayerNorm(channels)
        self.attention = _CrossCovariance(channels, 4)
        self.mlp = nn.Sequential(nn.Linear(channels, 2 * channels), nn.GELU(), nn.Linear(2 * channels, channels))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        parts = torch.split(x, self.width, 1)
        done, current = [], parts[0]
        for i, conv in enumerate(self.convs):
            current = conv(current if i == 0 else current + parts[i])
            done.append(current)
        y = torch.cat((*done, parts[-1]), 1)
        n, c, h, w = y.shape
        y = y.reshape(n, c, h * w).permute(0, 2, 1)
        y = y + self.attention(self.norm1(y))
        y = y.reshape(n, h, w, c)
        return x + self.mlp(self.norm2(y)).permute(0, 3, 1, 2)


def edgenext() -> nn.Module:
    """EdgeNeXt (EdgeFace): split depthwise convolutions and attention between channels."""
    return nn.Sequential(
        nn.Conv2d(3, 16, 4, 4), ChannelNorm(16), _EdgeBlock(16, 2), nn.Conv2d(16, 32, 2, 2), _EdgeBlock(32, 4),
        nn.AdaptiveAvgPool2d(1), Flat(), nn.LayerNorm(32), nn.Linear(32, 32),
    )  # fmt: skip


class _Transformer(nn.Module):
    def __init__(self, channels: int, heads: int, *, fused: bool) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(channels), nn.LayerNorm(channels)
        self.heads, self.fused = heads, fused
        self.qkv, self.out = nn.Linear(channels, 3 * channels), nn.Linear(channels, channels)
        self.mlp = nn.Sequential(nn.Linear(channels, 2 * channels), nn.GELU(), nn.Linear(2 * channels, channels))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        n, tokens, channels = x.shape
        width = channels // self.heads
        q, k, v = self.qkv(self.norm1(x)).reshape(n, tokens, 3, self.heads, width).permute(2, 0, 3, 1, 4).unbind(0)
        if self.fused:
            y = F.scaled_dot_product_attention(q, k, v)
        else:
            y = ((q * width**-0.5) @ k.transpose(-2, -1)).softmax(dim=-1) @ v
        x = x + self.out(y.transpose(1, 2).reshape(n, tokens, channels))
        return x + self.mlp(self.norm2(x))


class _VisionTransformer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, 24, 8, 8)
        self.token = nn.Parameter(torch.zeros(1, 1, 24))
        self.places = nn.Parameter(torch.zeros(1, 50, 24))
        self.blocks = nn.Sequential(_Transformer(24, 3, fused=False), _Transformer(24, 3, fused=True))
        self.library = nn.TransformerEncoderLayer(24, 3, 48, batch_first=True, norm_first=True, activation="gelu")
        self.norm, self.head = nn.LayerNorm(24), nn.Linear(24, 32)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.patches(x).flatten(2).transpose(1, 2)
        x = torch.cat((self.token.expand(x.shape[0], -1, -1), x), dim=1) + self.places
        return self.head(self.norm(self.library(self.blocks(x)))[:, 0])


def vit() -> nn.Module:
    """ViT-lite: patches, a class token, attention by hand, fused, and of the library."""
    return _VisionTransformer()


class _SwinBlock(nn.Module):
    def __init__(self, channels: int, side: int, window: int, shift: int) -> None:
        super().__init__()
        self.side, self.window, self.shift = side, window, shift
        self.norm, self.qkv, self.out = (
            nn.LayerNorm(channels),
            nn.Linear(channels, 3 * channels),
            nn.Linear(channels, channels),
        )
        self.bias = nn.Parameter(torch.zeros(1, 2, window * window, window * window))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        n, _, channels = x.shape
        side, window = self.side, self.window
        y = self.norm(x).view(n, side, side, channels)
        if self.shift:
            y = torch.roll(y, (-self.shift, -self.shift), (1, 2))
        y = y.view(n, side // window, window, side // window, window, channels).permute(0, 1, 3, 2, 4, 5)
        y = y.reshape(-1, window * window, channels)
        q, k, v = self.qkv(y).reshape(y.shape[0], window * window, 3, 2, channels // 2).permute(2, 0, 3, 1, 4)
        y = ((q @ k.transpose(-2, -1)) * 0.25 + self.bias).softmax(-1) @ v
        y = self.out(y.transpose(1, 2).reshape(-1, window * window, channels))
        y = y.view(n, side // window, side // window, window, window, channels).permute(0, 1, 3, 2, 4, 5)
        y = y.reshape(n, side, side, channels)
        if self.shift:
            y = torch.roll(y, (self.shift, self.shift), (1, 2))
        return x + y.reshape(n, side * side, channels)


class _Swin(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, 16, 4, 4)
        self.blocks = nn.Sequential(_SwinBlock(16, 8, 4, 0), _SwinBlock(16, 8, 4, 2))
        self.norm, self.merge, self.head = nn.LayerNorm(64), nn.Linear(64, 32, bias=False), nn.Linear(32, 32)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.blocks(self.patches(x).flatten(2).transpose(1, 2))
        x = x.view(-1, 8, 8, 16)
        x = torch.cat([x[:, i::2, j::2] for j in (0, 1) for i in (0, 1)], -1).view(-1, 16, 64)
        return self.head(self.merge(self.norm(x)).mean(1))


def swin() -> nn.Module:
    """Swin: attention in shifted windows, patches merged by strided slices."""
    return _Swin()


class _InceptionBlock(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        act = nn.ReLU
        self.one = unit(16, 8, 1, act=act())
        self.two = nn.Sequential(unit(16, 8, 1, act=act()), unit(8, 8, 3, act=act()))
        self.three = nn.Sequential(
            unit(16, 8, 1, act=act()),
            nn.Conv2d(8, 8, (1, 7), padding=(0, 3), bias=False), nn.BatchNorm2d(8), act(),
            nn.Conv2d(8, 8, (7, 1), padding=(3, 0), bias=False), nn.BatchNorm2d(8), act(),
        )  # fmt: skip
        self.join = nn.Conv2d(24, 16, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.relu(x + 0.17 * self.join(torch.cat((self.one(x), self.two(x), self.three(x)), 1)))


class _InceptionReduce(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = unit(16, 16, 3, 2, act=nn.ReLU())
        self.pool = nn.MaxPool2d(3, 2, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.cat((self.conv(x), self.pool(x)), 1)


def inception_resnet() -> nn.Module:
    """FaceNet's Inception-ResNet: parallel branches, 1x7 and 7x1 kernels, scaled residuals."""
    return nn.Sequential(
        unit(3, 16, 3, 2, act=nn.ReLU()), nn.MaxPool2d(3, 2), _InceptionBlock(), _InceptionBlock(), _InceptionReduce(),
        nn.Conv2d(32, 32, 1), nn.AvgPool2d(3, 1, 1), nn.AdaptiveAvgPool2d(1), Flat(), nn.Linear(32, 32, bias=False),
        nn.BatchNorm1d(32),
    )  # fmt: skip


class _SharedAttention(nn.Module):
    """CBAM: channels by mean and maximum through one perceptron, places by a convolution over mean and maximum."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.mlp = nn.Sequential(
            nn.Conv2d(channels, 4, 1, bias=False), nn.ReLU(), nn.Conv2d(4, channels, 1, bias=False)
        )
        self.place = nn.Conv2d(2, 1, 7, padding=3, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x * torch.sigmoid(self.mlp(F.adaptive_avg_pool2d(x, 1)) + self.mlp(F.adaptive_max_pool2d(x, 1)))
        maps = torch.cat((x.mean(1, keepdim=True), x.max(1, keepdim=True)[0]), 1)
        return x * torch.sigmoid(self.place(maps))


class _ChannelConv(nn.Module):
    """ECA: a one-dimensional convolution over the channels' means."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv1d(1, 1, 3, padding=1, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = F.adaptive_avg_pool2d(x, 1)
        y = self.conv(y.squeeze(-1).transpose(-1, -2)).transpose(-1, -2).unsqueeze(-1)
        return x * y.sigmoid()


class _CoordinateAttention(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.shared = unit(channels, 8, 1, act=nn.Hardswish())
        self.rows, self.columns = nn.Conv2d(8, channels, 1), nn.Conv2d(8, channels, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        _, _, h, w = x.shape
        rows = x.mean(3, keepdim=True)
        columns = x.mean(2, keepdim=True).permute(0, 1, 3, 2)
        a, b = torch.split(self.shared(torch.cat((rows, columns), 2)), [h, w], dim=2)
        return x * self.rows(a).sigmoid() * self.columns(b.permute(0, 1, 3, 2)).sigmoid()


def attention_blocks() -> nn.Module:
    """CBAM, ECA and coordinate attention, one after the other."""
    return nn.Sequential(
        unit(3, 16, 3, 2, act=nn.ReLU()), _SharedAttention(16), unit(16, 16, 3, 2, act=nn.ReLU()), _ChannelConv(),
        _CoordinateAttention(16), nn.AdaptiveAvgPool2d(1), Flat(), nn.Linear(16, 32),
    )  # fmt: skip


class _Normalised(nn.Module):
    """A unit with one of the normalisations that depend on the image itself."""

    def __init__(self, into: int, out: int, norm: nn.Module, act: nn.Module) -> None:
        super().__init__()
        self.conv, self.norm, self.act = nn.Conv2d(into, out, 3, 2, 1), norm, act

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.act(self.norm(self.conv(x)))


def normalisations() -> nn.Module:
    """InstanceNorm, GroupNorm, Mish, ELU, CELU, SELU, Softplus, Softsign, Hardshrink, LogSigmoid, LogSoftmax."""
    return nn.Sequential(
        _Normalised(3, 8, nn.InstanceNorm2d(8, affine=True), nn.Mish()),
        _Normalised(8, 16, nn.GroupNorm(4, 16), nn.ELU()),
        _Normalised(16, 16, nn.GroupNorm(1, 16), nn.SELU()),
        _Normalised(16, 16, nn.InstanceNorm2d(16), nn.CELU(0.7)),
        nn.Conv2d(16, 16, 1), nn.Softplus(), nn.Conv2d(16, 16, 1), nn.Softsign(), nn.Conv2d(16, 16, 1),
        nn.Hardshrink(0.1), nn.Conv2d(16, 16, 1), nn.LogSigmoid(), nn.AdaptiveAvgPool2d(1), Flat(),
        nn.Linear(16, 32), nn.LogSoftmax(dim=1),
    )  # fmt: skip


class _CentralDifference(nn.Module):
    """A convolution that sees differences to its centre: liveness models compute its second weight from the first."""

    def __init__(self, into: int, out: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(into, out, 3, padding=1, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        kernel = self.conv.weight.sum(2).sum(2)[:, :, None, None]
        return self.conv(x) - 0.7 * F.conv2d(x, kernel)


class _Cdcn(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = _CentralDifference(3, 8), _CentralDifference(8, 8)
        self.norm1, self.norm2 = nn.BatchNorm2d(8), nn.BatchNorm2d(8)
        self.pool = nn.MaxPool2d(3, 2, 1)
        self.last = nn.Conv2d(16, 1, 3, padding=1)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        a = self.pool(F.relu(self.norm1(self.first(x))))
        b = self.pool(F.relu(self.norm2(self.second(a))))
        joined = torch.cat([F.interpolate(v, size=(16, 16), mode="bilinear", align_corners=False) for v in (a, b)], 1)
        depth = torch.sigmoid(self.last(joined)).squeeze(1)
        return depth, depth.mean((1, 2))


def cdcn() -> nn.Module:
    """A liveness net of central difference convolutions that gives a depth map and its mean."""
    return _Cdcn()


class _RepUnit(nn.Module):
    """RepVGG before its branches are merged."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.wide, self.narrow, self.same = (
            unit(channels, channels),
            unit(channels, channels, 1),
            nn.BatchNorm2d(channels),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.relu(self.wide(x) + self.narrow(x) + self.same(x))


class _Landmarks(nn.Module):
    """Multi-scale pooled heads (PFLD): mean, mean and a full convolution, joined."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(unit(3, 8, 3, 2, act=nn.LeakyReLU(0.1)), _RepUnit(8), unit(8, 8, 3, 2, act=nn.ReLU()))
        self.down = unit(8, 16, 3, 2, act=nn.LeakyReLU(0.2))
        self.full = nn.Conv2d(16, 24, 8)
        self.head = nn.Linear(8 + 16 + 24, 10)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        a = self.body(x)
        b = self.down(a)
        c = F.leaky_relu(self.full(b))
        vector = torch.cat([F.avg_pool2d(a, a.shape[-1]).flatten(1), b.mean([2, 3]), c.flatten(1)], 1)
        points = self.head(vector).view(-1, 5, 2)
        return points, points.norm(dim=2)


def pfld() -> nn.Module:
    """A landmark net with RepVGG branches and joined scales."""
    return _Landmarks()


NETS: dict[str, tuple[Callable[[], nn.Module], int]] = {
    "attention_blocks": (attention_blocks, 32),
    "cdcn": (cdcn, 64),
    "convnext": (convnext, 64),
    "edgenext": (edgenext, 64),
    "efficientnet": (efficientnet, 64),
    "efficientnet_lite": (efficientnet_lite, 64),
    "ghostnet": (ghostnet, 64),
    "inception_resnet": (inception_resnet, 64),
    "iresnet50": (iresnet50, 112),
    "mobilefacenet": (mobilefacenet, 112),
    "mobilenetv3": (mobilenetv3, 64),
    "normalisations": (normalisations, 64),
    "pfld": (pfld, 64),
    "shufflenet": (shufflenet, 64),
    "swin": (swin, 32),
    "vit": (vit, 56),
}
