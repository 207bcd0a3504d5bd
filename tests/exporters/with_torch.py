"""Models of PyTorch as its two exporters write them; run by the interpreter of an environment that has torch.

python with_torch.py FOLDER
"""

import sys
from pathlib import Path

import torch
from torch import nn


class Residual(nn.Module):
    """A small residual network."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 16, 3, 2, 1, bias=False), nn.BatchNorm2d(16), nn.ReLU())
        self.body = nn.Sequential(
            nn.Conv2d(16, 16, 3, 1, 1, bias=False), nn.BatchNorm2d(16), nn.ReLU(),
            nn.Conv2d(16, 16, 3, 1, 1, bias=False), nn.BatchNorm2d(16),
        )  # fmt: skip
        self.pool, self.head = nn.AdaptiveAvgPool2d(1), nn.Linear(16, 10)

    def forward(self, x):
        x = self.stem(x)
        x = torch.relu(x + self.body(x))
        return self.head(torch.flatten(self.pool(x), 1)).log_softmax(1)


class Gated(nn.Module):
    """An inverted residual with squeeze-and-excitation and hard swishes."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 16, 3, 2, 1), nn.Hardswish())
        self.wide = nn.Sequential(nn.Conv2d(16, 48, 1), nn.Hardswish(), nn.Conv2d(48, 48, 5, 1, 2, groups=48))
        self.gate = nn.Sequential(
            nn.AdaptiveAvgPool2d(1), nn.Conv2d(48, 12, 1), nn.ReLU(), nn.Conv2d(12, 48, 1), nn.Hardsigmoid()
        )
        self.narrow, self.head = nn.Conv2d(48, 16, 1), nn.Linear(16, 10)

    def forward(self, x):
        x = self.stem(x)
        wide = self.wide(x)
        x = x + self.narrow(wide * self.gate(wide))
        return self.head(x.mean((2, 3)))


class Segmenting(nn.Module):
    """Down, up by a transposed convolution and by nearest neighbours, and joined."""

    def __init__(self) -> None:
        super().__init__()
        self.down, self.low = nn.Conv2d(3, 8, 3, 1, 1), nn.Conv2d(8, 16, 3, 1, 1)
        self.up, self.wide = nn.ConvTranspose2d(16, 8, 2, 2), nn.Upsample(scale_factor=2)
        self.last = nn.Conv2d(32, 2, 3, 1, 1)

    def forward(self, x):
        high = torch.nn.functional.silu(self.down(x))
        low = torch.relu(self.low(nn.functional.max_pool2d(high, 2)))
        return self.last(torch.cat([high, self.up(low), self.wide(low)], 1)).softmax(1)


class Signal(nn.Module):
    """Convolutions of one dimension."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv1d(1, 16, 9, 4), nn.PReLU(16), nn.MaxPool1d(2), nn.Conv1d(16, 32, 3, padding=1), nn.GELU()
        )
        self.head = nn.Linear(32, 4)

    def forward(self, x):
        return self.head(self.layers(x).mean(2))


class Attention(nn.Module):
    """A layer of a transformer's encoder behind a projection."""

    def __init__(self) -> None:
        super().__init__()
        self.project = nn.Linear(24, 32)
        self.query, self.key, self.value, self.out = (nn.Linear(32, 32) for _ in range(4))
        self.first, self.second = nn.LayerNorm(32), nn.LayerNorm(32)
        self.wide, self.narrow = nn.Linear(32, 128), nn.Linear(128, 32)

    def forward(self, x):
        x = self.project(x)
        weights = (self.query(x) @ self.key(x).transpose(1, 2) / 32**0.5).softmax(-1)
        x = self.first(x + self.out(weights @ self.value(x)))
        return self.second(x + self.narrow(nn.functional.gelu(self.wide(x))))


MODELS = (
    (Residual, (3, 32, 32)),
    (Gated, (3, 32, 32)),
    (Segmenting, (3, 32, 32)),
    (Signal, (1, 256)),
    (Attention, (20, 24)),
)


def main() -> None:
    """Write every model in both ways, with a batch of any size."""
    folder = Path(sys.argv[1])
    for number, (kind, shape) in enumerate(MODELS):
        torch.manual_seed(number)
        model = kind().eval()
        x = torch.randn(2, *shape)
        name = kind.__name__.lower()
        torch.onnx.export(
            model, (x,), folder / f"{name}-torchscript.onnx", dynamo=False, input_names=["x"],
            dynamic_axes={"x": {0: "batch"}},
        )  # fmt: skip
        torch.onnx.export(
            model, (x,), folder / f"{name}-dynamo.onnx", dynamo=True, input_names=["x"],
            dynamic_shapes=({0: torch.export.Dim("batch")},), external_data=False,
        )  # fmt: skip


if __name__ == "__main__":
    main()
