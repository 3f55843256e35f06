"""The forge: what passes, what fails and why, and what is never read."""

from __future__ import annotations

import json
import os
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from esper.kasmina.blueprints import Bottleneck, SiteShape, UnsuitableError
from esper.tezzeret import forge as forging
from esper.tezzeret.builtin import BUILTIN
from esper.tezzeret.checks import run_checks
from esper.tezzeret.forge import PROGRAM, WEIGHTS, Target, forge, kernel_id
from esper.tezzeret.ir import Blueprint, BlueprintError, blueprint_id, parse_blueprint, resolve
from esper.tezzeret.module import (
    BlueprintModule,
    KernelError,
    build_seeded,
    from_weights,
    weights_from_bytes,
    weights_to_bytes,
)
from esper.tezzeret.program import bind, from_json

IMAGE = Target(features=12, width=6, axis=1, spatial=2)
PLACES = {
    "any": [Target(features=12, width=6), IMAGE, Target(features=12, width=6, heads=4)],
    "image": [IMAGE],
    "sequence": [Target(features=12, width=6, heads=4)],
}


@pytest.mark.parametrize("name", BUILTIN)
def test_every_blueprint_that_comes_with_esper_passes(name: str) -> None:
    blueprint = BUILTIN[name]
    for target in PLACES[blueprint.site]:
        kernel = forge(blueprint, target)
        assert kernel.passed, kernel.checks
        assert {c.name for c in kernel.checks} == {
            "export", "shape", "zero_at_start", "finiteness", "gradcheck", "exported",
        }  # fmt: skip
        assert kernel.cost is not None
        assert 0 < kernel.cost.forward_us < kernel.cost.forward_backward_us
        weights = weights_from_bytes(kernel.artifacts[WEIGHTS])
        assert kernel.cost.parameters == sum(w.numel() for w in weights.values())
        assert b"/" + b"home" not in kernel.artifacts[PROGRAM]
        assert os.fsencode(Path(forging.__file__).parent) not in kernel.artifacts[PROGRAM]


def test_the_written_mlp_is_kasminas_bottleneck() -> None:
    for shape in (SiteShape(8), SiteShape(8, axis=1, spatial=2)):
        theirs = Bottleneck(shape, 5)
        nn.init.normal_(theirs.leave.weight)
        ours = BlueprintModule(BUILTIN["mlp"], shape, 5)
        ours.load_state_dict({f"nodes.{k}": v for k, v in theirs.state_dict().items()})
        h = torch.randn((3, 8, 4, 4) if shape.spatial else (3, 8))
        torch.testing.assert_close(ours(h), theirs(h), rtol=1e-5, atol=1e-6)


def test_attention_is_that_of_pytorch() -> None:
    module = build_seeded(BUILTIN["self-attention"], SiteShape(12, heads=4), 1, 0)
    attend = module.nodes["attend"]
    nn.init.normal_(attend.leave.weight)
    theirs = nn.MultiheadAttention(12, 4, batch_first=True)
    theirs.in_proj_weight = attend.project.weight
    theirs.in_proj_bias = attend.project.bias
    theirs.out_proj = attend.leave
    h = torch.randn(2, 7, 12)
    x = module.nodes["norm"](h)
    torch.testing.assert_close(module(h), theirs(x, x, x)[0], rtol=1e-5, atol=1e-6)


def test_squeeze_is_its_formula() -> None:
    module = build_seeded(BUILTIN["squeeze"], SiteShape(4, axis=1, spatial=2), 3, 0)
    nn.init.normal_(module.nodes["leave"].weight)
    h = torch.randn(2, 4, 5, 5)
    n = module.nodes
    gate = torch.sigmoid(
        n["excite"](nn.functional.silu(n["enter"](h.mean((2, 3)))))
    )  # one for each channel
    torch.testing.assert_close(module(h), n["leave"](h * gate[:, :, None, None]))


def changed(**what: Any) -> dict[str, Any]:
    value = BUILTIN["mlp"].model_dump(mode="json")
    return {**value, **what}


def node(name: str, op: str, *inputs: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "op": op, "inputs": list(inputs), **more}


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (changed(nodes=[node("a", "exec", "input")]), r"key 'nodes\.0'.*'exec'"),
        (changed(nodes=[node("a", "linear", "later", out=3)], output="a"), "no node before"),
        (changed(output="act"), "nothing reads node 'leave'"),
        (changed(output="nowhere"), "nothing reads node 'leave'"),
        (changed(ir=2), "key 'ir'"),
        (changed(name="../x"), "key 'name'"),
        (changed(code="import os"), "key 'code'"),
        (changed(nodes=[node("a", "linear", "input", out="99999999*width")]), "pattern"),
        (changed(nodes=[node("a", "linear", "input", out="width/0")]), "pattern"),
        (changed(nodes=[node("a", "linear", "input", out=3.0)]), "valid integer"),
        (
            changed(
                nodes=[
                    node("a", "linear", "input", out=3),
                    node("b", "mul", "a", "input"),
                    node("c", "linear", "b", out="features"),
                ],
                output="c",
            ),
            "node 'b': mul of 3 and 64 features",
        ),
        (changed(nodes=[node("a", "conv2d", "input", out="features")], output="a"), "needs site"),
    ],
)
def test_an_unsound_blueprint_is_refused_with_the_key(value: Any, message: str) -> None:
    with pytest.raises(BlueprintError, match=message) as caught:
        parse_blueprint(value, "b.json")
    assert str(caught.value).startswith("b.json: ")


def test_ids_depend_on_what_is_computed_alone() -> None:
    blueprint = BUILTIN["mlp"]
    renamed = parse_blueprint(changed(name="other", description="x"))
    assert blueprint_id(renamed) == blueprint_id(blueprint)
    assert blueprint_id(BUILTIN["gated"]) != blueprint_id(blueprint)
    here = kernel_id(blueprint, IMAGE)
    assert kernel_id(renamed, IMAGE) == here
    others = {
        kernel_id(blueprint, IMAGE, isa="x86_64-other"),
        kernel_id(blueprint, Target(features=13, width=6, axis=1, spatial=2)),
        kernel_id(BUILTIN["gated"], IMAGE),
    }
    assert len(others | {here}) == 4


def test_the_pipeline_and_torch_are_part_of_the_address(monkeypatch: pytest.MonkeyPatch) -> None:
    here = kernel_id(BUILTIN["mlp"], IMAGE)
    monkeypatch.setattr(forging, "PIPELINE", "another")
    assert kernel_id(BUILTIN["mlp"], IMAGE) != here
    monkeypatch.undo()
    monkeypatch.setattr(torch, "__version__", "9.9.9+cpu")
    assert kernel_id(BUILTIN["mlp"], IMAGE) != here


def test_forging_twice_gives_the_same_bytes() -> None:
    target = Target(features=5, width=3, seed=7)
    first, second = forge(BUILTIN["gated"], target), forge(BUILTIN["gated"], target)
    assert first.artifacts == second.artifacts


def test_a_blueprint_that_does_not_fit_fails_with_the_reason() -> None:
    kernel = forge(BUILTIN["conv3x3"], Target(features=8))
    assert not kernel.passed
    assert kernel.artifacts == {}
    assert "needs a Conv2d or BatchNorm2d site" in kernel.checks[0].found
    with pytest.raises(BlueprintError, match="no whole number"):
        resolve(parse_blueprint(changed(nodes=[
            node("enter", "linear", "input", out="features/8"),
            node("leave", "linear", "enter", out="features"),
        ], output="leave")), features=12, width=1)  # fmt: skip


class Wrong(BlueprintModule):
    """Branches that are wrong in one way each."""

    def __init__(self, fault: str) -> None:
        super().__init__(BUILTIN["mlp"], SiteShape(6), 4)
        self.fault = fault

    def forward(self, h: torch.Tensor) -> torch.Tensor:
        y = super().forward(h)
        match self.fault:
            case "shape":
                return y[:, :-1]
            case "zero_at_start":
                return y + 1e-3
            case "finiteness":
                return y * torch.exp(h)  # overflows for large activations
            case "gradcheck":
                return y * h.detach()  # a gradient that is cut
        return y


@pytest.mark.parametrize("fault", ["shape", "zero_at_start", "finiteness", "gradcheck"])
def test_each_check_finds_its_fault(fault: str) -> None:
    failed = {
        c.name for c in run_checks(Wrong(fault), None, SiteShape(6), "any", 0) if not c.passed
    }
    assert fault in failed
    assert not [c for c in run_checks(Wrong(""), None, SiteShape(6), "any", 0) if not c.passed]


def test_a_program_that_computes_something_else_is_found() -> None:
    other = forge(BUILTIN["gated"], Target(features=6, width=4))
    module = build_seeded(BUILTIN["mlp"], SiteShape(6), 4, 0)
    (check,) = [
        c
        for c in run_checks(module, other.artifacts[PROGRAM], SiteShape(6), "any", 0)
        if c.name == "exported"
    ]
    assert not check.passed


def test_a_program_gets_its_weights_by_name() -> None:
    kernel = forge(BUILTIN["gated"], Target(features=6, width=4))
    program = from_json(kernel.artifacts[PROGRAM])
    weights = {
        name: value + 0.1 for name, value in weights_from_bytes(kernel.artifacts[WEIGHTS]).items()
    }
    module = from_weights(BUILTIN["gated"], SiteShape(6), 4, weights)
    backwards = dict(reversed(weights.items()))
    h = torch.randn(7, 6)
    assert list(backwards) != list(weights)
    assert torch.allclose(bind(program, backwards)(h), module(h), atol=1e-6)
    del backwards[next(iter(backwards))]
    with pytest.raises(KernelError, match="do not belong to this program"):
        bind(program, backwards)


@pytest.mark.parametrize(("axis", "spatial"), [(-1, 2), (1, 1)])
def test_a_target_is_the_shape_of_a_site(axis: int, spatial: int) -> None:
    with pytest.raises(ValueError, match="no site has axis"):
        Target(features=6, width=4, axis=axis, spatial=spatial)


def test_weights_come_back_bit_for_bit_and_nothing_else_does(tmp_path: Path) -> None:
    module = build_seeded(BUILTIN["gated"], SiteShape(6), 4, 3)
    content = weights_to_bytes(module)
    again = from_weights(BUILTIN["gated"], SiteShape(6), 4, weights_from_bytes(content))
    assert all(
        torch.equal(a, b) for a, b in zip(module.parameters(), again.parameters(), strict=True)
    )
    assert all(p.requires_grad and not p.is_meta for p in again.parameters())
    again(torch.randn(2, 6)).sum().backward()
    tensors = weights_from_bytes(content)
    with pytest.raises(KernelError, match="do not belong"):
        from_weights(BUILTIN["mlp"], SiteShape(6), 4, tensors)
    with pytest.raises(KernelError, match=r"is \(4,.*not \(5,"):
        from_weights(BUILTIN["gated"], SiteShape(6), 5, tensors)
    tensors["nodes.value.weight"][0, 0] = float("nan")
    with pytest.raises(KernelError, match="not finite"):
        from_weights(BUILTIN["gated"], SiteShape(6), 4, tensors)
    for bad in (content[:-5], b"", b"\xff" * 64, evil(tmp_path)):
        with pytest.raises(KernelError, match="not safetensors"):
            weights_from_bytes(bad)
    assert not (tmp_path / "evil").exists()


def evil(folder: Path) -> bytes:
    class Evil:
        def __reduce__(self) -> Any:
            return (os.mkdir, (str(folder / "evil"),))

    return pickle.dumps(Evil())


def _graph(value: Any) -> Any:
    return value["program"]["graph_module"]["graph"]


def tamper_target(value: Any) -> None:
    _graph(value)["nodes"][0]["target"] = "os.system"


def tamper_operator(value: Any) -> None:
    _graph(value)["nodes"][0]["target"] = "torch.ops.aten.from_file.default"


def tamper_guards(value: Any) -> None:
    value["program"]["guards_code"] = ["__import__('os').mkdir('evil')"]


def tamper_size(value: Any) -> None:
    sizes = json.dumps(value)
    at = sizes.index("Symbol(")
    end = sizes.index(")", at) + 1
    value.update(json.loads(sizes[:at] + "__import__('os').mkdir('evil')" + sizes[end:]))


def tamper_argument(value: Any) -> None:
    _graph(value)["nodes"][0]["inputs"][0]["arg"] = {"as_custom_obj": {"name": "x"}}


def tamper_bounds(value: Any) -> None:
    value["program"]["range_constraints"]["__import__('os')"] = {"min_val": 1, "max_val": 2}


def tamper_format(value: Any) -> None:
    value["format"] = "pickle"


@pytest.mark.parametrize(
    "tamper",
    [
        tamper_target, tamper_operator, tamper_guards, tamper_size, tamper_argument,
        tamper_bounds, tamper_format,
    ],
)  # fmt: skip
def test_a_program_from_outside_is_a_plain_graph_or_refused(
    tamper: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    value = json.loads(forge(BUILTIN["mlp"], Target(features=4, width=2)).artifacts[PROGRAM])
    from_json(json.dumps(value).encode())
    tamper(value)
    with pytest.raises(KernelError, match="program"):
        from_json(json.dumps(value).encode())
    assert not (tmp_path / "evil").exists()


def test_archives_and_pickles_are_no_programs(tmp_path: Path) -> None:
    for content in (b"", b"PK\x03\x04", evil(tmp_path), b"[" * 100_000, b"{}"):
        with pytest.raises(KernelError, match="damaged"):
            from_json(content)
    assert not (tmp_path / "evil").exists()


def test_a_sequence_needs_three_dimensions() -> None:
    module = build_seeded(BUILTIN["self-attention"], SiteShape(8, heads=4), 1, 0)
    with pytest.raises(UnsuitableError, match="three dimensions"):
        module(torch.randn(2, 8))


def test_blueprints_survive_json() -> None:
    for blueprint in BUILTIN.values():
        assert Blueprint.model_validate_json(blueprint.model_dump_json()) == blueprint
