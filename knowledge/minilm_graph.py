"""The computation of all-MiniLM-L6-v2 as an ONNX graph without its weights: BERT, mean pooling, unit length.

Written with ONNX Runtime's fused BERT operators (`com.microsoft`), so that nothing is left to be discovered when a
session starts. Weights are named here and supplied by `minilm.py` from the model's own safetensors file. Refuses
nothing: any BERT of this shape fits. Called by `minilm.py`, once per machine.

The model: Wang et al., MiniLM (2020), arXiv 2002.10957; Reimers and Gurevych, Sentence-BERT (2019), arXiv 1908.10084.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

VERSION = 2
"""Changes with the graph, so that a cached one is made again."""
OPSET = 17
VECTORS, TOKENS = "vectors", "token_vectors"
FUSED = "com.microsoft"


@dataclass(frozen=True, slots=True)
class Shape:
    """What of a BERT's `config.json` the graph depends on."""

    layers: int
    heads: int
    epsilon: float


@dataclass(slots=True)
class _Graph:
    nodes: list[Any] = field(default_factory=list)

    def add(self, operator: str, inputs: list[str], output: str, domain: str = "", **attributes: Any) -> str:
        from onnx import helper

        self.nodes.append(helper.make_node(operator, inputs, [output], domain=domain, **attributes))
        return output


def build(shape: Shape, weights: Mapping[str, tuple[int, ...]]) -> bytes:
    """The serialised graph.

    In: `ids` and `mask`, (batch, length). Out: VECTORS (batch, width) of unit length, and TOKENS (batch, length,
    width), the last layer before it is pooled.

    Args:
        shape: layers, heads and epsilon.
        weights: name to dimensions of what `add_external_initializers` will supply.
    """
    from onnx import TensorProto, helper

    graph = _Graph()
    hidden = _embeddings(graph, shape)
    for layer in range(shape.layers):
        hidden = _layer(graph, shape, f"layer.{layer}", hidden)
    graph.add("Identity", [hidden], TOKENS)
    _pooling(graph, hidden)
    inputs = [
        helper.make_tensor_value_info("ids", TensorProto.INT64, ["batch", "length"]),
        helper.make_tensor_value_info("mask", TensorProto.INT32, ["batch", "length"]),
    ]
    width = weights["words"][1]
    outputs = [
        helper.make_tensor_value_info(VECTORS, TensorProto.FLOAT, ["batch", width]),
        helper.make_tensor_value_info(TOKENS, TensorProto.FLOAT, ["batch", "length", width]),
    ]
    model = helper.make_model(
        helper.make_graph(graph.nodes, "minilm", inputs, outputs, [_supplied(*item) for item in weights.items()]),
        opset_imports=[helper.make_opsetid("", OPSET), helper.make_opsetid(FUSED, 1)],
        ir_version=8,
    )
    return bytes(model.SerializeToString())


def _supplied(name: str, dimensions: tuple[int, ...]) -> Any:
    """An initializer whose values come from outside."""
    from onnx import TensorProto

    tensor = TensorProto(name=name, data_type=TensorProto.FLOAT, dims=dimensions)
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="supplied")
    return tensor


def _embeddings(graph: _Graph, shape: Shape) -> str:
    """Word plus position (which carries the token type of a single text), normalised."""
    graph.add("Gather", ["words", "ids"], "word_rows")
    graph.add("Shape", ["ids"], "length", start=1, end=2)
    graph.add("Constant", [], "zero", value_ints=[0])
    graph.add("Slice", ["positions", "zero", "length", "zero"], "position_rows")
    graph.add("Add", ["word_rows", "position_rows"], "embedded")
    return graph.add(
        "LayerNormalization", ["embedded", "norm.weight", "norm.bias"], "hidden", axis=-1, epsilon=shape.epsilon
    )


def _layer(graph: _Graph, shape: Shape, name: str, hidden: str) -> str:
    """Self-attention and feed-forward, each added to its input and normalised."""
    attended = graph.add(
        "Attention",
        [hidden, f"{name}.qkv.weight", f"{name}.qkv.bias", "mask"],
        f"{name}.attended",
        FUSED,
        num_heads=shape.heads,
    )
    projected = graph.add("MatMul", [attended, f"{name}.out.weight"], f"{name}.projected")
    middle = _add_and_norm(graph, shape, f"{name}.out", projected, hidden)
    wide = graph.add("MatMul", [middle, f"{name}.up.weight"], f"{name}.wide")
    active = graph.add("BiasGelu", [wide, f"{name}.up.bias"], f"{name}.active", FUSED)
    narrow = graph.add("MatMul", [active, f"{name}.down.weight"], f"{name}.narrow")
    return _add_and_norm(graph, shape, f"{name}.down", narrow, middle)


def _add_and_norm(graph: _Graph, shape: Shape, name: str, value: str, skip: str) -> str:
    inputs = [value, skip, f"{name}.norm.weight", f"{name}.norm.bias", f"{name}.bias"]
    return graph.add("SkipLayerNormalization", inputs, f"{name}.done", FUSED, epsilon=shape.epsilon)


def _pooling(graph: _Graph, hidden: str) -> None:
    """Mean over the tokens that are no padding, then unit length."""
    graph.add("Constant", [], "one_axis", value_ints=[1])
    graph.add("Constant", [], "last_axis", value_ints=[2])
    graph.add("Cast", ["mask"], "mask_float", to=1)
    graph.add("Unsqueeze", ["mask_float", "last_axis"], "mask_column")
    graph.add("Mul", [hidden, "mask_column"], "kept")
    graph.add("ReduceSum", ["kept", "one_axis"], "total", keepdims=0)
    graph.add("ReduceSum", ["mask_float", "one_axis"], "tokens", keepdims=1)
    graph.add("Div", ["total", "tokens"], "mean")
    graph.add("LpNormalization", ["mean"], VECTORS, axis=1, p=2)
