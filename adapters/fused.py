"""LoRA layers that cost a CPU little more than the layers they adapt.

Stock LoRA multiplies every token with three matrices and adds. Here the adapted matrix W + s B A is made once per step,
which costs as much as reading a few tokens, and every token meets one matrix; the gradients are those of the same
function. Only for float32 on a CPU without dropout: a GPU would rather keep its memory.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


class _AdaptedLinear(torch.autograd.Function):
    """x (W + s B A)^T, with gradients for x, A and B; W is frozen. Shapes: W (out, in), A (rank, in), B (out, rank)."""

    @staticmethod
    def forward(context: Any, x: Tensor, weight: Tensor, down: Tensor, up: Tensor, scale: float) -> Tensor:
        rows = x.reshape(-1, x.shape[-1])
        context.save_for_backward(rows, weight, down, up)
        context.scale, context.shape = scale, x.shape
        return (rows @ torch.addmm(weight, up, down, alpha=scale).t()).view(*x.shape[:-1], -1)

    @staticmethod
    def backward(context: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        rows, weight, down, up = context.saved_tensors
        gradient = gradients[0].reshape(-1, gradients[0].shape[-1])
        for_x = None
        if context.needs_input_grad[0]:
            for_x = (gradient @ torch.addmm(weight, up, down, alpha=context.scale)).view(context.shape)
        for_up = (gradient.t() @ (rows @ down.t())).mul_(context.scale)
        for_down = ((gradient @ up).t() @ rows).mul_(context.scale)
        return for_x, None, for_down, for_up, None


def fuse(model: torch.nn.Module) -> int:
    """Let every plain LoRA layer of a PEFT model compute as above, while it is trained.

    Returns:
        How many layers now do; others (with dropout, bias, a variant, another type) stay as they are.
    """
    from peft.tuners.lora import Linear

    fused = 0
    for layer in model.modules():
        if isinstance(layer, Linear) and _is_plain(layer):
            layer.forward = _forward(layer)
            fused += 1
    return fused


def _forward(layer: Any) -> Any:
    def forward(x: Tensor, *_: Any, **__: Any) -> Tensor:
        (name,) = layer.active_adapters
        down, up = layer.lora_A[name].weight, layer.lora_B[name].weight
        made: Tensor = _AdaptedLinear.apply(  # type: ignore[no-untyped-call]
            x, layer.base_layer.weight, down, up, layer.scaling[name]
        )
        return made

    return forward


def _is_plain(layer: Any) -> bool:
    (name,) = layer.active_adapters
    return (
        isinstance(layer.base_layer, torch.nn.Linear)
        and layer.base_layer.bias is None
        and layer.base_layer.weight.dtype == torch.float32
        and layer.base_layer.weight.device.type == "cpu"
        and isinstance(layer.lora_dropout[name], torch.nn.Identity)
        and not layer.use_dora[name]
        and name not in getattr(layer, "lora_variant", {})
    )
