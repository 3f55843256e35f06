"""Blueprints that come with esper; the first two are Kasmina's own, written down."""

from __future__ import annotations

from typing import Any

from esper.tezzeret.ir import Blueprint, parse_blueprint


def _two(op: str, site: str, name: str, what: str, **inner: Any) -> dict[str, Any]:
    return {
        "name": name,
        "site": site,
        "description": what,
        "nodes": [
            {"name": "enter", "op": op, "inputs": ["input"], "out": "width", **inner},
            {"name": "act", "op": "gelu", "inputs": ["enter"]},
            {
                "name": "leave",
                "op": op,
                "inputs": ["act"],
                "out": "features",
                **({"kernel": 1} if op == "conv2d" else {}),
            },
        ],
        "output": "leave",
    }


_VALUES: tuple[dict[str, Any], ...] = (
    _two("linear", "any", "mlp", "features, width, features with GELU"),
    _two("conv2d", "image", "conv3x3", "3 x 3 to width channels, GELU, 1 x 1 back"),
    {
        "name": "gated",
        "description": "A gated linear unit: half of it decides what the other half lets through.",
        "nodes": [
            {"name": "value", "op": "linear", "inputs": ["input"], "out": "width"},
            {"name": "gate_in", "op": "linear", "inputs": ["input"], "out": "width"},
            {"name": "gate", "op": "sigmoid", "inputs": ["gate_in"]},
            {"name": "product", "op": "mul", "inputs": ["value", "gate"]},
            {"name": "leave", "op": "linear", "inputs": ["product"], "out": "features"},
        ],
        "output": "leave",
    },
    {
        "name": "separable",
        "site": "image",
        "description": "A depthwise 5 x 5 convolution, then 1 x 1: wide sight for few parameters.",
        "nodes": [
            {
                "name": "look",
                "op": "conv2d",
                "inputs": ["input"],
                "out": "features",
                "kernel": 5,
                "depthwise": True,
            },
            {"name": "enter", "op": "conv2d", "inputs": ["look"], "out": "width", "kernel": 1},
            {"name": "act", "op": "gelu", "inputs": ["enter"]},
            {"name": "leave", "op": "conv2d", "inputs": ["act"], "out": "features", "kernel": 1},
        ],
        "output": "leave",
    },
    {
        "name": "squeeze",
        "site": "image",
        "description": "Channels weighed by their means over the image (squeeze and excitation, "
        "arXiv:1709.01507), then mixed.",
        "nodes": [
            {"name": "squeezed", "op": "mean", "inputs": ["input"]},
            {"name": "enter", "op": "linear", "inputs": ["squeezed"], "out": "width"},
            {"name": "act", "op": "silu", "inputs": ["enter"]},
            {"name": "excite", "op": "linear", "inputs": ["act"], "out": "features"},
            {"name": "gate", "op": "sigmoid", "inputs": ["excite"]},
            {"name": "weighed", "op": "mul", "inputs": ["input", "gate"]},
            {
                "name": "leave",
                "op": "conv2d",
                "inputs": ["weighed"],
                "out": "features",
                "kernel": 1,
            },
        ],
        "output": "leave",
    },
    {
        "name": "self-attention",
        "site": "sequence",
        "description": "LayerNorm and self-attention over the sequence.",
        "nodes": [
            {"name": "norm", "op": "layer_norm", "inputs": ["input"]},
            {"name": "attend", "op": "attention", "inputs": ["norm"], "heads": 4},
        ],
        "output": "attend",
    },
)

BUILTIN: dict[str, Blueprint] = {
    str(value["name"]): parse_blueprint(value, "builtin") for value in _VALUES
}
"""By name."""
