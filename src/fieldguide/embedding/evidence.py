"""Which place of a picture each class's score came from: exact, from the network's last maps, in the same pass.

Above its last maps a network of ours is piecewise linear: an average and a linear layer, or dense layers with ReLU. So each
logit is a sum over the places of those maps, plus a constant. The parts are the gradient of the logit times the map
(HiResCAM; with global average pooling, the class activation map), here found by going back through the few operations above
the maps: no second pass, no TensorFlow.

Sources: Zhou et al. 2016, https://arxiv.org/abs/1512.04150; Draelos & Carin 2020, https://arxiv.org/abs/2011.08891
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fieldguide.embedding.engine import BATCH_SIZE, Engine, read_network
from fieldguide.embedding.linear_head import LinearHead
from fieldguide.errors import BundleError

# Layout and averages: what may stand between the last maps and the embedding while there are still four axes.
_PASSED_THROUGH = ("Transpose", "Reshape", "Squeeze", "ReduceMean")
_MIRRORING = ("Reverse", "ReverseSequence", "StridedSlice", "Slice", "Gather")

Gradient = NDArray[np.float32]  # (num_images, num_classes, *shape of one picture's value)


class EvidenceEngine:
    """A network at work that also says where its embeddings came from.

    Args:
        network: the path of a `network.xml`.
        precision: as in `Engine`.

    Attributes:
        map_size: (rows, columns) of the last maps: how finely places are told apart.

    Raises:
        BundleError: if the network does not end in maps followed by operations that are known here.
    """

    def __init__(self, network: Path, *, precision: str = "auto") -> None:
        model = read_network(network)
        nodes = list(model.get_ordered_ops())
        self._tail, self._maps = _above_the_maps(nodes)
        needed = [node for node in self._tail if node.get_type_name() in ("Relu", "Clamp")] + self._maps
        model.add_outputs([node.output(0) for node in needed])
        # Asked of the model: what gives the embedding itself is an output already, and is not added again.
        self._output_of = {_source(end.get_node()).get_friendly_name(): i for i, end in enumerate(model.outputs)}
        self._are_mirrored = [_are_mirrored(node) for node in self._maps]
        self._are_channels_last = _are_channels_last(self._maps[0])
        rows = 1 if self._are_channels_last else 2
        shape = self._maps[0].get_output_partial_shape(0)
        self.map_size: tuple[int, int] = (shape[rows].get_length(), shape[rows + 1].get_length())
        self._engine = Engine(model, precision=precision)

    def run(self, pixels: NDArray[np.uint8], head: LinearHead) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """The embeddings of pictures, and what each place adds to each class's logit.

        Args:
            pixels: RGB uint8 (num_images, *image_size, 3).
            head: on top of the embeddings.

        Returns:
            embeddings (num_images, embedding_size); evidence (num_images, num_classes, rows, columns). Over all places a
            class's evidence adds up to its logit, less the mean over the classes: a constant that every class has changes no
            probability. What belongs to no place (biases) is shared out evenly.

        Raises:
            ValueError: if the pictures have another shape or type.
        """
        batches = ((None, pixels[start : start + BATCH_SIZE]) for start in range(0, len(pixels), BATCH_SIZE))
        done = [(outputs[0], self._evidence(outputs, head)) for _, outputs in self._engine.output_stream(batches)]
        if not done:
            num_classes = len(head.bias)
            empty = np.empty((0, num_classes, *self.map_size), np.float32)
            return np.empty((0, self._engine.embedding_size), np.float32), empty
        embeddings, evidence = (np.concatenate(parts) for parts in zip(*done, strict=True))
        return embeddings, evidence

    def _evidence(self, outputs: tuple[NDArray[np.float32], ...], head: LinearHead) -> NDArray[np.float32]:
        embeddings = outputs[0]
        gradients: dict[tuple[str, int], Gradient] = {}  # by the operation's name and the number of its output
        # One array for all pictures: what differs from picture to picture comes in at the first ReLU.
        start = np.broadcast_to(head.kernel.T, (len(embeddings), *head.kernel.T.shape))
        self._add(gradients, self._tail[0].input_value(0), start)
        for node in self._tail[1:]:
            name = node.get_friendly_name()
            ends = [(name, number) for number in range(node.get_output_size())]
            found = [gradients.pop(end, None) for end in ends]
            some = next((part for part in found if part is not None), None)
            if some is not None:
                # A Split has two, the halves of the batch; one that nothing is made of has no share.
                gradient = np.concatenate([np.zeros_like(some) if part is None else part for part in found])
                values = outputs[self._output_of[name]] if name in self._output_of else None
                for source, part in _BACK[node.get_type_name()](node, gradient, values):
                    self._add(gradients, source, part)
        total = np.zeros((len(embeddings), len(head.bias), *self.map_size), np.float32)
        for node, are_mirrored in zip(self._maps, self._are_mirrored, strict=True):
            maps = outputs[self._output_of[node.get_friendly_name()]]
            sums = "nkhwc,nhwc->nkhw" if self._are_channels_last else "nkchw,nchw->nkhw"
            part = np.einsum(sums, gradients[node.get_friendly_name(), 0], maps, optimize=True)
            for half, is_mirrored in zip(np.split(part, len(are_mirrored)), are_mirrored, strict=True):
                total += half[..., ::-1] if is_mirrored else half
        logits = head.logits(embeddings)
        rest = logits - total.sum(axis=(2, 3))
        total += rest[..., None, None] / np.prod(self.map_size)
        return np.asarray(total - total.mean(axis=1, keepdims=True))

    @staticmethod
    def _add(gradients: dict[tuple[str, int], Gradient], source: Any, part: Gradient) -> None:
        end = (source.get_node().get_friendly_name(), source.get_index())
        gradients[end] = gradients[end] + part if end in gradients else part


def _above_the_maps(nodes: list[Any]) -> tuple[list[Any], list[Any]]:
    """The operations above the last maps, the result first, and the operations that give those maps.

    Raises:
        BundleError: if there are no maps, if their sizes differ, or if an operation above them is not known here.
    """
    tail, maps = [], []
    reached = {node.get_friendly_name() for node in nodes if node.get_type_name() == "Result"}
    for node in reversed(nodes):
        kind = node.get_type_name()
        if node.get_friendly_name() not in reached or kind == "Constant":
            continue
        if kind != "Result" and len(node.get_output_partial_shape(0)) == 4 and kind not in _PASSED_THROUGH:
            maps.append(node)
            continue
        if kind != "Result" and kind not in _BACK:
            raise BundleError(
                f"Where this network looks is not known: above its last maps it has the operation {kind}.\n"
                "hint: networks that end in an average or in dense layers with ReLU can be explained."
            )
        tail.append(node)
        reached |= {source.get_node().get_friendly_name() for source in node.input_values()}
    sizes = {str(node.get_output_partial_shape(0)) for node in maps}
    if len(sizes) != 1 or not all(axis.is_static for axis in list(maps[0].get_output_partial_shape(0))[1:]):
        raise BundleError("Where this network looks is not known: it does not end in maps of one size.")
    return tail, maps


def _are_channels_last(node: Any) -> bool:
    """Whether maps are (batch, rows, columns, channels), as in networks that come from TensorFlow; else channels are axis 1.

    Raises:
        BundleError: if nothing below them tells.
    """
    while True:
        kind = node.get_type_name()
        if "Convolution" in kind or kind in ("MaxPool", "AvgPool"):
            return False
        if kind == "Transpose":
            return bool(_constant(node)[1].tolist() == [0, 2, 3, 1])
        computed = [one.get_node() for one in node.input_values() if one.get_node().get_type_name() != "Constant"]
        if not computed:
            raise BundleError("Where this network looks is not known: its last maps come from no convolution.")
        node = computed[0]


def _source(node: Any) -> Any:
    return node.input_value(0).get_node()


def _are_mirrored(node: Any) -> tuple[bool, ...]:
    """Whether the pictures were mirrored on the way to this operation: the whole batch, or each half of one twice as long.

    Such a batch is the pictures, changed in two ways and put behind each other, as by `Operations.with_mirrored`; below a
    Split it is one batch again.
    """
    above = _nodes_below(node, is_end=_doubles_the_batch)
    doubling = [one for one in above if _doubles_the_batch(one)]
    if not doubling or any(one.get_type_name() == "Split" for one in above):
        return (_num_mirrorings(_nodes_below(node)) % 2 == 1,)
    parts = [_nodes_below(source.get_node()) for source in doubling[0].input_values()]
    return tuple((_num_mirrorings(above) + _num_mirrorings(part)) % 2 == 1 for part in parts)


def _num_mirrorings(nodes: list[Any]) -> int:
    return sum(one.get_type_name() in _MIRRORING for one in nodes)


def _doubles_the_batch(node: Any) -> bool:
    if node.get_type_name() != "Concat" or len(node.get_output_partial_shape(0)) != 4:
        return False
    return bool(node.get_attributes()["axis"] % 4 == 0)


def _nodes_below(node: Any, *, is_end: Callable[[Any], bool] = lambda _: False) -> list[Any]:
    """The operations that an operation is computed from, itself included, without what lies below an end."""
    seen, waiting, found = set(), [node], []
    while waiting:
        one = waiting.pop()
        if one.get_friendly_name() not in seen:
            seen.add(one.get_friendly_name())
            found.append(one)
            waiting += [] if is_end(one) else [source.get_node() for source in one.input_values()]
    return found


def _constant(node: Any) -> tuple[Any, NDArray[Any]]:
    """The input of an operation that is computed, and the one that is a constant.

    Raises:
        BundleError: if it has not one of each.
    """
    computed = [source for source in node.input_values() if source.get_node().get_type_name() != "Constant"]
    constants = [source.get_node() for source in node.input_values() if source.get_node().get_type_name() == "Constant"]
    if len(computed) != 1 or len(constants) != 1:
        raise BundleError(f"Where this network looks is not known: a {node.get_type_name()} multiplies two computed values.")
    return computed[0], np.asarray(constants[0].data)


def _sizes(source: Any) -> list[int]:
    """Of one picture's value, without the batch."""
    return [axis.get_length() for axis in list(source.get_partial_shape())[1:]]


Parts = Iterable[tuple[Any, Gradient]]  # inputs of an operation with their gradients


def _back_relu(node: Any, gradient: Gradient, values: NDArray[np.float32] | None) -> Parts:
    yield node.input_value(0), gradient * _active(node, values)[:, None]


def _active(node: Any, values: NDArray[np.float32] | None) -> NDArray[np.bool_]:
    if values is None:
        raise BundleError(f"The network gave no values of its {node.get_type_name()}.")
    if node.get_type_name() == "Relu":
        return values > 0
    bounds = node.get_attributes()
    return np.asarray((values > bounds["min"]) & (values < bounds["max"]))


def _back_add(node: Any, gradient: Gradient, values: Any) -> Parts:
    for source in node.input_values():
        if source.get_node().get_type_name() != "Constant":
            yield source, gradient


def _back_multiply(node: Any, gradient: Gradient, values: Any) -> Parts:
    source, factor = _constant(node)
    factor = np.broadcast_to(factor, (1, *_sizes(source)))
    yield source, gradient * factor[None]


def _back_matmul(node: Any, gradient: Gradient, values: Any) -> Parts:
    source, kernel = _constant(node)
    if not node.get_attributes()["transpose_b"]:
        kernel = kernel.T  # (units, size)
    yield source, gradient @ kernel


def _back_reshape(node: Any, gradient: Gradient, values: Any) -> Parts:
    source = node.input_value(0)
    yield source, gradient.reshape(*gradient.shape[:2], *_sizes(source))


def _back_transpose(node: Any, gradient: Gradient, values: Any) -> Parts:
    source, order = _constant(node)
    # Axis 0 is the batch; the gradient has the classes behind it.
    back = np.argsort(order[1:]) + 2
    yield source, gradient.transpose(0, 1, *back)


def _back_mean(node: Any, gradient: Gradient, values: Any) -> Parts:
    source, axes = _constant(node)
    sizes = _sizes(source)
    reduced = sorted(int(axis) % (len(sizes) + 1) for axis in np.atleast_1d(axes))
    if not node.get_attributes()["keep_dims"]:
        for axis in reduced:
            gradient = np.expand_dims(gradient, axis + 1)
    count = np.prod([sizes[axis - 1] for axis in reduced])
    yield source, np.broadcast_to(gradient / count, (*gradient.shape[:2], *sizes))


def _back_split(node: Any, gradient: Gradient, values: Any) -> Parts:
    source, axis = _constant(node)
    if axis != 0 or node.get_output_size() != 2:
        raise BundleError("Where this network looks is not known: above its last maps it splits values, not the batch.")
    yield source, gradient


_BACK: dict[str, Callable[[Any, Gradient, Any], Parts]] = {
    "Relu": _back_relu,
    "Clamp": _back_relu,
    "Add": _back_add,
    "Multiply": _back_multiply,
    "MatMul": _back_matmul,
    "Reshape": _back_reshape,
    "Squeeze": _back_reshape,
    "Transpose": _back_transpose,
    "ReduceMean": _back_mean,
    "Split": _back_split,
}
