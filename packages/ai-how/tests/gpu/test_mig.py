"""MIG divisions against the published lists of what is possible."""

from __future__ import annotations

from itertools import combinations_with_replacement

import pytest

from ai_how.gpu.mig import MODELS, MigError, gres, nvidia_smi, place, profiles

# The largest divisions of an A100, by compute slices, as operators of Kubernetes list them
# (nebuly-ai/nos, pkg/gpu/mig/known_configs.go), and the two that it leaves out: 4+3 and
# 3+1+1+1+1.
LISTED = [
    (7,),
    (4, 3),
    (4, 2, 1),
    (4, 1, 1, 1),
    (3, 3),
    (3, 2, 1),
    (3, 1, 1, 1),
    (2, 2, 3),
    (2, 1, 1, 3),
    (1, 1, 2, 3),
    (1, 1, 1, 1, 3),
    (2, 2, 2, 1),
    (2, 1, 1, 2, 1),
    (2, 2, 1, 1, 1),
    (2, 1, 1, 1, 1, 1),
    (1, 1, 1, 1, 1, 1, 1),
]
NAMES = {1: "1g.5gb", 2: "2g.10gb", 3: "3g.20gb", 4: "4g.20gb", 7: "7g.40gb"}


def fits(division: tuple[int, ...]) -> bool:
    try:
        place("a100-40gb", [NAMES[size] for size in division])
    except MigError:
        return False
    return True


@pytest.mark.parametrize("division", LISTED)
def test_every_division_of_the_list_fits(division: tuple[int, ...]) -> None:
    assert fits(division)


def test_what_fits_is_part_of_a_division_of_the_list() -> None:
    for length in range(1, 9):
        for division in combinations_with_replacement((1, 2, 3, 4, 7), length):
            within = any(
                all(division.count(size) <= whole.count(size) for size in NAMES) for whole in LISTED
            )
            assert fits(division) == within, division


def test_as_many_instances_of_a_profile_as_nvidia_smi_says() -> None:
    """`nvidia-smi mig -lgip` of an H100 80GB: profile, ID, instances in total."""
    printed = {
        "1g.10gb": (19, 7),
        "1g.10gb+me": (20, 1),
        "1g.20gb": (15, 4),
        "2g.20gb": (14, 3),
        "3g.40gb": (9, 2),
        "4g.40gb": (5, 1),
        "7g.80gb": (0, 1),
    }
    known = profiles("h100-80gb")
    assert set(known) == set(printed)
    for name, (number, most) in printed.items():
        assert known[name].number == number
        assert len(place("h100-80gb", [name] * most)) == most
        with pytest.raises(MigError):
            place("h100-80gb", [name] * (most + 1))


@pytest.mark.parametrize("model", MODELS)
def test_instances_lie_apart_and_where_they_may(model: str) -> None:
    one, _, _, two, three, _, seven = profiles(model)
    instances = place(model, [one, two, three, one])
    taken = [part for i in instances for part in range(i.start, i.start + i.profile.memory_slices)]
    assert len(taken) == len(set(taken)) == 8
    assert max(taken) < 8
    assert all(i.start in i.profile.starts for i in instances)
    assert place(model, [seven])[0].start == 0


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (["1g.10gb", "8g.80gb"], "'8g.80gb' is no profile of h100-80gb; there are 1g.10gb"),
        (["4g.40gb", "4g.40gb"], "take 8 compute slices; a GPU has seven"),
        (["3g.40gb", "3g.40gb", "1g.10gb"], "they take 9 memory slices, and a GPU has eight"),
        (["1g.10gb+me", "1g.10gb+me"], "for one instance with \\+me"),
        ([], "name at least one profile"),
    ],
)
def test_what_does_not_fit_is_refused_with_the_reason(names: list[str], words: str) -> None:
    with pytest.raises(MigError, match=words):
        place("h100-80gb", names)


def test_a_gpu_without_mig_is_refused() -> None:
    with pytest.raises(MigError, match="MIG does not divide 'v100'; it divides a100-40gb"):
        place("v100", ["1g.5gb"])


def test_commands_and_gres() -> None:
    instances = place("h100-80gb", ["1g.10gb", "3g.40gb", "1g.10gb"])
    assert nvidia_smi(1, instances)[-1] == "nvidia-smi mig -i 1 -cgi 9:0,19:4,19:5 -C"
    assert gres("h100-80gb", instances) == "gpu:h100_3g.40gb:1,gpu:h100_1g.10gb:2"
