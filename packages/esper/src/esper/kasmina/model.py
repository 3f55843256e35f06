"""`wrap` and `unwrap`: a model with seeds, and the model again."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, distributed, nn

from esper.kasmina.blueprints import UnsuitableError, build, site_shape
from esper.kasmina.layer import KasminaLayer
from esper.lifecycle import Event, Seed, State


class MorphableModel(nn.Module):
    """A host model and its seeds. Called like the host.

    `host` is the very model that was wrapped: its `state_dict()` has the keys and the values
    it always had. `seeds` maps a site's name to its KasminaLayer; the names in a state_dict
    have `/` for `.`, as PyTorch allows no dots there.
    """

    def __init__(self, host: nn.Module, sites: Sequence[str]) -> None:
        super().__init__()
        self.host = host
        self.seeds = nn.ModuleDict(
            {_key(site): KasminaLayer(site, host.get_submodule(site)) for site in sites}
        )

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Return what the host returns, with every grafted branch on the path."""
        return self.host(*args, **kwargs)

    @property
    def sites(self) -> tuple[str, ...]:
        """The names of the sites, in the order they were given."""
        return tuple(layer.seed.site for layer in self.layers())

    def layers(self) -> Iterator[KasminaLayer]:
        """Go through the seeds."""
        for layer in self.seeds.values():
            assert isinstance(layer, KasminaLayer)  # noqa: S101 - for the type checker
            yield layer

    def seed_at(self, site: str) -> KasminaLayer:
        """Return the seed at `site`; raises KeyError with the sites there are."""
        key = _key(site)
        if key not in self.seeds:
            raise KeyError(f"no site {site!r}; sites: {', '.join(self.sites)}")
        layer = self.seeds[key]
        assert isinstance(layer, KasminaLayer)  # noqa: S101 - for the type checker
        return layer

    def germinate(
        self, site: str, blueprint: str, *, width: int, generator: torch.Generator
    ) -> list[nn.Parameter]:
        """Grow a branch at a dormant site and let it begin to learn (TRAINING).

        Returns its parameters, for the optimiser. A blueprint that does not fit leaves the
        seed CANCELLED without an embargo and raises UnsuitableError.
        """
        layer = self.seed_at(site)
        layer.on(Event.GERMINATE, blueprint=blueprint)
        layer.on(Event.LOAD)
        try:
            branch = build(blueprint, self.host.get_submodule(site), width, generator)
        except UnsuitableError:
            layer.on(Event.CANCEL)
            raise
        layer.attach(branch.train(self.training), width)
        layer.on(Event.LOADED)
        return list(branch.parameters())

    def shadow_backward(self, site: str, loss: Callable[[], Tensor]) -> float:
        """Let the seed at `site` learn beside the host: add its gradients, and nothing else.

        `loss` runs this model on a batch and returns the true loss. Meanwhile the site puts
        out s + g(s), s being the detached activation of the host, and gradients are taken for
        the branch alone. Buffers (running statistics) and the random state are put back, so the
        host's trajectory is bit for bit the one without a seed. Under `torch.distributed` the
        gradients are averaged over the processes, as DDP would.

        Returns the loss. Call it on this model itself, not on a DDP wrapper round it. Raises
        RuntimeError for a seed that is not in TRAINING, and for a site that `loss` does not pass.
        """
        layer = self.seed_at(site)
        if layer.seed.state is not State.TRAINING or layer.branch is None:
            raise RuntimeError(f"site {site!r} is {layer.seed.state}; only TRAINING has a shadow")
        parameters = [p for p in layer.branch.parameters() if p.requires_grad]
        layer.shadowing = True
        try:
            with _undisturbed(self.host):
                value = loss()
                gradients = (
                    torch.autograd.grad(value, parameters, allow_unused=True)
                    if value.requires_grad
                    else (None,)
                )
        finally:
            layer.shadowing = False
        if all(gradient is None for gradient in gradients):
            raise RuntimeError(
                f"site {site!r} did not run in `loss`; let it call this very model, on a batch "
                "that passes the site"
            )
        for parameter, found in zip(parameters, gradients, strict=True):
            gradient = torch.zeros_like(parameter) if found is None else found
            if distributed.is_available() and distributed.is_initialized():
                distributed.all_reduce(gradient)
                gradient.div_(distributed.get_world_size())
            if parameter.grad is None:
                parameter.grad = gradient
            else:
                parameter.grad += gradient
        return float(value.detach())

    @contextlib.contextmanager
    def alpha_as(self, site: str, value: float) -> Iterator[None]:
        """Set a grafted seed's alpha to `value` for a while: 0 asks what it contributes."""
        layer = self.seed_at(site)
        before = layer.alpha.clone()
        layer.alpha.fill_(value)
        try:
            yield
        finally:
            layer.alpha.copy_(before)

    def lives(self) -> list[Seed]:
        """Return the life of every seed."""
        return [layer.seed for layer in self.layers()]


def wrap(model: nn.Module, sites: Sequence[str] | None = None) -> MorphableModel:
    """Put a dormant seed at every one of `sites` of `model`, which is not copied.

    `sites` are names as `model.named_modules()` gives them; by default every Linear, Conv2d,
    attention, LayerNorm and BatchNorm module but the last Linear or Conv2d (the output).
    Raises UnsuitableError for a site that is not there, is named twice or can hold no seed.
    """
    if isinstance(model, MorphableModel):
        raise UnsuitableError("the model is wrapped already")
    modules = dict(model.named_modules())
    chosen = tuple(_default_sites(modules) if sites is None else sites)
    if not chosen:
        raise UnsuitableError("the model has no module that can hold a seed")
    if len(set(chosen)) < len(chosen):
        raise UnsuitableError("a site is named twice")
    for site in chosen:
        if site not in modules or not site:
            raise UnsuitableError(f"the model has no module {site!r}")
        site_shape(modules[site])
        for above, module in modules.items():
            if isinstance(module, nn.MultiheadAttention) and site.startswith(f"{above}."):
                raise UnsuitableError(
                    f"{site!r} never runs as a module of its own; name the attention {above!r}"
                )
    return MorphableModel(model, chosen)


def unwrap(model: MorphableModel) -> nn.Module:
    """Return the host as plain PyTorch modules.

    With every seed dormant (or resting) it is the module that was wrapped, untouched. A grafted
    branch becomes part of it: its site is replaced, wherever the host has it, by a `Grafted`
    module, and the site's own parameters get the prefix `base.` in the state_dict. A branch that
    still learns beside the host is left behind. The MorphableModel must not be used afterwards.
    """
    for layer in model.layers():
        layer.unplug()
        if layer.branch is None or not layer.on_path:
            continue
        base = model.host.get_submodule(layer.seed.site)
        grafted = Grafted(base, layer.branch, layer.alpha).train(base.training)
        for parent in list(model.host.modules()):
            for name in [n for n, child in parent._modules.items() if child is base]:
                setattr(parent, name, grafted)
    return model.host


class Grafted(nn.Module):
    """A module with a branch that has become part of it: base(x) + alpha * g(base(x)).

    What it lacks itself (`weight`, `out_features`, `batch_first`, ...) is the base's, for hosts
    that look at it.
    """

    alpha: Tensor

    def __init__(self, base: nn.Module, branch: nn.Module, alpha: Tensor) -> None:
        super().__init__()
        self.base = base
        self.branch = branch
        self.register_buffer("alpha", alpha.detach().clone())
        # A TransformerEncoderLayer in eval mode computes with the bare weights of its parts,
        # unless one of them has a hook.
        self.register_forward_pre_hook(_look_on)

    def __getattr__(self, name: str) -> Any:
        """Return what the base has under a name that is not known here."""
        try:
            return super().__getattr__(name)
        except AttributeError:
            base = self.__dict__.get("_modules", {}).get("base")
            if base is None:
                raise
            return getattr(base, name)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Return what the base returns, with the branch added."""
        output = self.base(*args, **kwargs)
        h = output[0] if isinstance(output, tuple) else output
        y = h + self.alpha * self.branch(h)
        return (y, *output[1:]) if isinstance(output, tuple) else y


def _look_on(module: nn.Module, inputs: Any) -> None:
    """Do nothing."""


def _key(site: str) -> str:
    return site.replace(".", "/")


def _default_sites(modules: dict[str, nn.Module]) -> list[str]:
    found = []
    inside: tuple[str, ...] = ()
    for name, module in modules.items():
        if not name or name.startswith(inside):
            continue
        with contextlib.suppress(UnsuitableError):
            site_shape(module)
            found.append(name)
            if isinstance(module, nn.MultiheadAttention):
                inside = (*inside, f"{name}.")  # its projections never run as modules
    heads = [n for n in found if isinstance(modules[n], nn.Linear | nn.Conv2d)]
    return [name for name in found if not heads or name != heads[-1]]


@contextlib.contextmanager
def _undisturbed(host: nn.Module) -> Iterator[None]:
    """Put the host's buffers and the random state back afterwards."""
    buffers = [(buffer, buffer.clone()) for buffer in host.buffers()]
    on_cuda = {b.device for b, _ in buffers} | {p.device for p in host.parameters()}
    devices = [device for device in on_cuda if device.type == "cuda"]
    try:
        with torch.random.fork_rng(devices=devices):
            yield
    finally:
        with torch.no_grad():
            for buffer, value in buffers:
                buffer.copy_(value)
