"""The networks while they are trained (torch), and the weights they are kept as.

The energy of an atom of element e is f_e(x) - f_e(x of an atom alone), where x are the descriptors
brought to zero mean and unit size, and f = linear + sum of blocks. A block is two hidden layers on
some of the functions; its output layer has no bias.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from rootstock.environments.esper_env import Function, Network, network_of

Array = NDArray[np.float64]

_LAYERS = {"W1": ("0", "weight"), "b1": ("0", "bias"), "W2": ("2", "weight"), "b2": ("2", "bias")}


class ElementNetwork(nn.Module):
    """f of one element, on descriptors divided by `scale` (X = B / scale)."""

    linear: nn.Parameter
    shift: Tensor
    scale: Tensor

    def __init__(self, shift: Array, scale: Array, activation: str) -> None:
        super().__init__()
        self.register_buffer("shift", torch.tensor(shift, dtype=torch.float64))
        self.register_buffer("scale", torch.tensor(scale, dtype=torch.float64))
        self.linear = nn.Parameter(torch.zeros(len(shift), dtype=torch.float64))
        self.blocks = nn.ModuleList()
        self.inputs: list[Tensor] = []
        self.activation = activation

    def add_block(self, inputs: Sequence[int], width: int, generator: torch.Generator) -> None:
        """Add a block whose output layer is zero: nothing changes until it learns."""
        act = {"silu": nn.SiLU, "tanh": nn.Tanh}[self.activation]
        first = nn.Linear(len(inputs), width, dtype=torch.float64)
        second = nn.Linear(width, width, dtype=torch.float64)
        last = nn.Linear(width, 1, bias=False, dtype=torch.float64)
        with torch.no_grad():
            for layer, fan_in in ((first, len(inputs)), (second, width)):
                for parameter in layer.parameters():
                    draw = torch.rand(parameter.shape, generator=generator, dtype=torch.float64)
                    parameter.copy_((2 * draw - 1) / fan_in**0.5)
            last.weight.zero_()
        self.blocks.append(nn.Sequential(first, act(), second, act(), last))
        self.inputs.append(torch.tensor(list(inputs), dtype=torch.long))

    def forward(self, X: Tensor) -> Tensor:
        """Return the energies (n) of atoms with scaled descriptors X (n x F)."""
        whole = torch.cat([X, X.new_zeros(1, X.shape[1])])
        centred = whole - self.shift / self.scale
        energy = whole @ self.linear
        for inputs, block in zip(self.inputs, self.blocks, strict=True):
            energy = energy + block(centred[:, inputs])[:, 0]
        return energy[:-1] - energy[-1]


class GrowingNetworks(nn.Module):
    """The networks of all elements, of one architecture: the same functions and blocks."""

    def __init__(
        self,
        elements: Sequence[str],
        functions: Sequence[Function],
        shift: Array,
        scale: Array,
        activation: str,
    ) -> None:
        super().__init__()
        self.elements = tuple(elements)
        self.functions = list(functions)
        self.activation = activation
        self.of = nn.ModuleDict(
            {e: ElementNetwork(shift[z], scale[z], activation) for z, e in enumerate(elements)}
        )

    def networks(self) -> list[ElementNetwork]:
        """Return the networks in the order of the elements."""
        found = []
        for element in self.elements:
            network = self.of[element]
            assert isinstance(network, ElementNetwork)  # noqa: S101 - for the type checker
            found.append(network)
        return found

    def add_block(self, inputs: Sequence[int], width: int, generator: torch.Generator) -> None:
        """Add a block to every element."""
        for network in self.networks():
            network.add_block(inputs, width, generator)

    def scales(self) -> Array:
        """Return what descriptors are divided by (elements x F)."""
        return np.stack([network.scale.numpy() for network in self.networks()])

    def parameter_count(self) -> int:
        """Return the number of trained numbers."""
        return sum(p.numel() for p in self.parameters())

    def block_inputs(self) -> list[list[int]]:
        """Return the functions each block sees."""
        return [inputs.tolist() for inputs in self.networks()[0].inputs]

    def widths(self) -> list[int]:
        """Return the width of each block's hidden layers."""
        return [int(block[0].weight.shape[0]) for block in self.networks()[0].blocks]  # type: ignore[index]

    def forward(self, X: Tensor, kinds: Tensor) -> Tensor:
        """Return the energy (eV) of every atom."""
        energy = X.new_zeros(len(X))
        for z, network in enumerate(self.networks()):
            mine = torch.nonzero(kinds == z)[:, 0]
            if len(mine):
                energy = energy.index_copy(0, mine, network(X[mine]))
        return energy

    def weights(self) -> dict[str, Array]:
        """Return all numbers by name, as the potential keeps them."""
        found: dict[str, Array] = {}
        for element, network in zip(self.elements, self.networks(), strict=True):
            found[f"{element}.shift"] = network.shift.numpy().copy()
            found[f"{element}.scale"] = network.scale.numpy().copy()
            found[f"{element}.linear"] = network.linear.detach().numpy().copy()
            for n, block in enumerate(network.blocks):
                for name, (layer, kind) in _LAYERS.items():
                    value = block.get_submodule(layer).get_parameter(kind)
                    found[f"{element}.blocks.{n}.{name}"] = value.detach().numpy().copy()
                out = block.get_submodule("4").get_parameter("weight")
                found[f"{element}.blocks.{n}.out"] = out.detach().numpy()[0].copy()
        return found

    def plain(self) -> dict[str, Network]:
        """Return the networks as the calculator uses them."""
        weights, blocks = self.weights(), self.block_inputs()
        return {e: network_of(weights, e, blocks, self.activation) for e in self.elements}


def networks_from(
    elements: Sequence[str],
    functions: Sequence[Function],
    blocks: Sequence[Sequence[int]],
    activation: str,
    weights: Mapping[str, Array],
) -> GrowingNetworks:
    """Return networks with given weights: the inverse of `GrowingNetworks.weights`."""
    shift, scale = (np.stack([weights[f"{e}.{n}"] for e in elements]) for n in ("shift", "scale"))
    made = GrowingNetworks(elements, functions, shift, scale, activation)
    generator = torch.Generator().manual_seed(0)
    for n, inputs in enumerate(blocks):
        made.add_block(inputs, len(weights[f"{elements[0]}.blocks.{n}.b1"]), generator)
    with torch.no_grad():
        for element, network in zip(elements, made.networks(), strict=True):
            network.linear.copy_(torch.from_numpy(weights[f"{element}.linear"].copy()))
            for n in range(len(blocks)):
                _fill_block(network, n, weights, f"{element}.blocks.{n}")
    return made


def _fill_block(network: ElementNetwork, n: int, weights: Mapping[str, Array], prefix: str) -> None:
    """Give a block its numbers; layers of another width (elements may differ) are replaced."""
    block = network.blocks[n]
    for name, (layer, kind) in _LAYERS.items():
        block.get_submodule(layer).get_parameter(kind).copy_(
            torch.from_numpy(weights[f"{prefix}.{name}"].copy())
        )
    out = torch.from_numpy(weights[f"{prefix}.out"].copy())
    block.get_submodule("4").get_parameter("weight").copy_(out[None])
