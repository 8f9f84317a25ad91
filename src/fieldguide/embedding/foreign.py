"""What a network from a stranger may hold: layers that work on one batch of pictures, each of a bounded size.

OpenVINO's files are data, but they can describe loops without end, layers of any size and states that one caller leaves to
the next. Nothing here needs OpenVINO.
"""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

from fieldguide.errors import BundleError

# By their names in OpenVINO. No loops, no branches, no state, no chance, no strings, no sub-networks.
OPERATIONS = frozenset(
    """
    Abs AdaptiveAvgPool Add AvgPool BatchNormInference BatchToSpace Broadcast Ceiling Clamp Concat Constant Convert
    ConvertLike Convolution ConvolutionBackpropData Cos CumSum DepthToSpace Divide Einsum Elu Equal Erf Exp FakeQuantize
    Floor FloorMod Gather GatherND Gelu Greater GreaterEqual GroupConvolution GroupConvolutionBackpropData
    GroupNormalization HSigmoid HSwish HardSigmoid Interpolate LRN Less LessEqual Log LogSoftmax LogicalAnd LogicalNot
    LogicalOr MVN MatMul MaxPool Maximum Minimum Mish Mod Multiply Negative NormalizeL2 NotEqual OneHot PRelu Pad
    Parameter Power Range ReduceL1 ReduceL2 ReduceMax ReduceMean ReduceMin ReduceProd ReduceSum Relu Reshape Result Roll
    Round ScaledDotProductAttention Select Selu ShapeOf Sigmoid Sign Sin Slice SoftPlus SoftSign Softmax SpaceToBatch
    SpaceToDepth Split Sqrt SquaredDifference Squeeze StridedSlice Subtract Swish Tanh Tile Transpose Unsqueeze
    VariadicSplit
    """.split()
)
MAX_NUMBERS = 2**28  # of one output of one layer, for one picture: 1 GB
_START = re.compile(rb'<\?xml version="1\.0"\?>\s*<net name="[^"<]*" version="\d+">')


def check_start(path: Path) -> None:
    """Refuses what is no network of OpenVINO: it would try its readers of TensorFlow, ONNX and PyTorch on it, one by one.

    Raises:
        BundleError: if the file does not begin as `save_network` begins it.
    """
    try:
        with path.open("rb") as file:
            start = file.read(300)
    except OSError as error:
        raise BundleError(f"{path} cannot be read: {error.strerror or error}.") from error
    if not _START.match(start):
        raise BundleError(f"{path} is not a network as OpenVINO writes it.\nhint: it is damaged; train again.")


def check_operations(network: Any, name: str) -> None:
    """Holds every layer of an `openvino.Model` against `OPERATIONS` and `MAX_NUMBERS`.

    Raises:
        BundleError: if one is of another kind, or gives more numbers, or gives nobody knows how many.
    """
    for node in network.get_ops():
        kind = node.get_type_name()
        if kind not in OPERATIONS:
            raise BundleError(f"{name} holds an operation {kind!r}, which networks of pictures do without.")
        for output in node.outputs():
            shape = output.get_partial_shape()
            # The first axis of all but constants is the batch.
            axes = list(shape)[int(kind != "Constant") :] if shape.rank.is_static else [shape.rank]
            if not all(axis.is_static for axis in axes) or math.prod(axis.get_length() for axis in axes) > MAX_NUMBERS:
                raise BundleError(f"{name}: {kind} gives {shape}; at most {MAX_NUMBERS:,} numbers a picture are worked on.")
