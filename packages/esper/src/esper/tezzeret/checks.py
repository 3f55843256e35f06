"""What a branch has to pass before it may grow anywhere. Each check measures something."""

from __future__ import annotations

import copy
from collections.abc import Callable

import torch
from pydantic import BaseModel, ConfigDict
from torch import Tensor, nn

from esper.kasmina.blueprints import SiteShape
from esper.tezzeret.module import BlueprintModule, KernelError
from esper.tezzeret.program import bind, example, from_json

_LARGE = 1e3  # an activation far out of the ordinary
_AGREE = 1e-5  # eager against exported, relative to the largest value
BATCHES = (1, 2, 5, 8)


class Check(BaseModel):
    """The outcome of one check: what was found, in words with numbers."""

    model_config = ConfigDict(frozen=True)

    name: str
    passed: bool
    found: str


def run_checks(
    module: BlueprintModule, program: bytes | None, shape: SiteShape, site: str, seed: int
) -> list[Check]:
    """Run every check; `program` is the exported graph, None if exporting failed."""
    generator = torch.Generator().manual_seed(seed)
    awake = _awake(module, generator)
    checks: list[tuple[str, Callable[[], str]]] = [
        ("shape", lambda: _shape(awake, shape, site, generator)),
        ("zero_at_start", lambda: _zero(module, shape, site, generator)),
        ("finiteness", lambda: _finite(awake, shape, site, generator)),
        ("gradcheck", lambda: _gradients(awake, shape, site, generator)),
    ]
    if program is not None:
        checks.append(("exported", lambda: _exported(awake, program, shape, site, generator)))
    found = []
    for name, check in checks:
        try:
            found.append(Check(name=name, passed=True, found=check()))
        except (KernelError, RuntimeError, ValueError) as error:
            reason = str(error).strip().splitlines() or [type(error).__name__]
            found.append(Check(name=name, passed=False, found=reason[0][:300]))
    return found


def _awake(module: BlueprintModule, generator: torch.Generator) -> BlueprintModule:
    """Return a copy whose last layer is not zero: with zeros most checks would see nothing."""
    awake = copy.deepcopy(module)
    with torch.no_grad():
        for parameter in awake.last_layer().parameters():
            parameter.copy_(0.3 * torch.randn(parameter.shape, generator=generator))
    return awake


def _shape(module: nn.Module, shape: SiteShape, site: str, generator: torch.Generator) -> str:
    for batch in BATCHES:
        h = example(shape, site, batch, generator)
        out = module(h)
        if out.shape != h.shape:
            raise KernelError(f"{tuple(h.shape)} becomes {tuple(out.shape)}")
    return f"kept at batches {', '.join(map(str, BATCHES))}"


def _zero(module: nn.Module, shape: SiteShape, site: str, generator: torch.Generator) -> str:
    largest = float(module(example(shape, site, 4, generator)).detach().abs().max())
    if largest != 0:
        raise KernelError(f"a new branch puts out {largest:.3g}, not 0")
    return "g(h) = 0"


def _finite(module: nn.Module, shape: SiteShape, site: str, generator: torch.Generator) -> str:
    largest = 0.0
    for scale in (0.0, 1.0, _LARGE):
        h = (scale * example(shape, site, 4, generator)).requires_grad_()
        out = module(h)
        gradients = torch.autograd.grad(out.square().sum(), [h, *module.parameters()])
        for what, tensor in [("value", out), *(("gradient", g) for g in gradients)]:
            if not bool(torch.isfinite(tensor).all()):
                raise KernelError(f"a {what} is not finite for activations of size {scale:g}")
        largest = max(largest, float(out.detach().abs().max()))
    return f"values and gradients finite up to activations of {_LARGE:g}; largest {largest:.3g}"


def _gradients(module: nn.Module, shape: SiteShape, site: str, generator: torch.Generator) -> str:
    """Compare gradients with finite differences in float64, along random directions."""
    double = copy.deepcopy(module).double()
    h = example(shape, site, 2, generator).double().requires_grad_()
    names, parameters = zip(*double.named_parameters(), strict=True)
    ok = torch.autograd.gradcheck(
        lambda x, *given: torch.func.functional_call(
            double, dict(zip(names, given, strict=True)), (x,)
        ),
        (h, *parameters),
        eps=1e-6,
        atol=1e-5,
        rtol=1e-3,
        fast_mode=True,  # one random projection of the Jacobian; its cost does not grow with it
    )
    if not ok:
        raise KernelError("gradients are not those of finite differences")
    return f"finite differences agree for the input and {len(parameters)} parameters (float64)"


def _exported(
    module: nn.Module, program: bytes, shape: SiteShape, site: str, generator: torch.Generator
) -> str:
    weights = {name: value.detach() for name, value in module.state_dict().items()}
    run = bind(from_json(program), weights)
    worst = 0.0
    for batch in BATCHES:
        h: Tensor = example(shape, site, batch, generator)
        with torch.no_grad():
            eager, exported = module(h), run(h)
        scale = max(float(eager.abs().max()), 1e-12)
        worst = max(worst, float((eager - exported).abs().max()) / scale)
    if not worst <= _AGREE:
        raise KernelError(f"eager and exported differ by {worst:.3g} of the largest value")
    return f"read back; differs from eager by {worst:.2g} of the largest value"
