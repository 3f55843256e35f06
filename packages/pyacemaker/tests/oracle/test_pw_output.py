"""What pw.x left behind, whole or spoilt: a result of this very structure, or a reason."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.units import Hartree, Rydberg
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pyacemaker.oracle.espresso.healing.classes import CLASSES
from pyacemaker.oracle.espresso.pw_output import XML, NoResultError, Result, read_result

GOOD = Path(__file__).parent / "fixtures" / "failures" / "good-scf"
A = 2.715
BOX = Atoms(
    "Si2",
    positions=[[0, 0, 0], [1.4775, 1.3075, 1.4375]],
    cell=[[0, A, A], [A, 0, A], [A, A, 0]],
    pbc=True,
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / XML).parent.mkdir(parents=True)
    shutil.copyfile(GOOD / "data-file-schema.xml", tmp_path / XML)
    shutil.copyfile(GOOD / "pw.out", tmp_path / "pw.out")
    return tmp_path


def read(folder: Path) -> Result:
    return read_result(folder, folder / "pw.out", BOX)


def test_a_whole_result(folder: Path) -> None:
    result = read(folder)
    assert result.energy_eV == pytest.approx(-227.0016, abs=1e-3)
    assert result.forces_eV_per_A.shape == (2, 3)
    np.testing.assert_allclose(result.forces_eV_per_A.sum(axis=0), 0, atol=1e-3)


def test_the_gap_is_known_where_empty_states_were_computed(folder: Path) -> None:
    """The run has four filled bands; a fifth and sixth are written in, as smearing brings them."""
    assert read(folder).gap_eV is None
    xml = folder / XML
    whole = xml.read_text()
    number = iter(range(1000))

    def wider(found: re.Match[str]) -> str:
        more = 0.30 + 0.01 * (next(number) % 8)  # Hartree; the highest filled is 0.2637
        return f'<eigenvalues size="6">{found[1]} {more:.4f} {more + 0.1:.4f}</eigenvalues>'

    pattern = r'(?s)<eigenvalues size="4">(.*?)</eigenvalues>'
    xml.write_text(re.sub(pattern, wider, whole))
    assert read(folder).gap_eV == pytest.approx((0.30 - 0.2636609219737783) * Hartree, abs=1e-6)
    # The Fermi level within a band: a metal.
    xml.write_text(re.sub(pattern, wider, whole).replace("2.636609219737783E-01", "0.22"))
    assert read(folder).gap_eV == 0.0


@pytest.mark.parametrize(
    ("pattern", "by", "name"),
    [
        (r"(<etot>)[^<]+", r"\g<1>-7.0", "inconsistent_output"),
        (r"(<etot>)[^<]+", r"\g<1>NaN", "inconsistent_output"),
        (r'(index="2">)\S+', r"\g<1>0.5", "inconsistent_output"),
        (r'atom name="Si"', 'atom name="Ge"', "inconsistent_output"),
        (r"(?s)<forces.*?</forces>", "", "inconsistent_output"),
        (r"(?s)(<stress[^>]*>)[^<]*", r"\g<1> 1.0 ", "inconsistent_output"),
        (r"(?s)<output>.*", "", "xml_truncated"),
        (r"convergence_achieved>true", "convergence_achieved>false", "scf_not_converged"),
    ],
)
def test_a_result_that_is_not_of_this_run(folder: Path, pattern: str, by: str, name: str) -> None:
    xml = folder / XML
    changed, count = re.subn(pattern, by, xml.read_text())
    assert count
    xml.write_text(changed)
    with pytest.raises(NoResultError) as caught:
        read(folder)
    assert caught.value.diagnosis.name == name


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.data())
def test_a_spoilt_result_is_refused_or_the_same(folder: Path, data: st.DataObject) -> None:
    """Pieces cut out, doubled or overwritten: a NoResultError or the true numbers, no other end."""
    whole = (GOOD / "data-file-schema.xml").read_bytes()
    text = (GOOD / "pw.out").read_bytes()
    spoilt = {"xml": whole, "text": text}
    for which in data.draw(st.lists(st.sampled_from(["xml", "text"]), min_size=1, max_size=2)):
        content = spoilt[which]
        start = data.draw(st.integers(0, len(content)))
        end = min(len(content), start + data.draw(st.integers(0, 3000)))
        junk = data.draw(
            st.sampled_from([b"", b"\x00" * 50, content[start:end] * 2, b"<a>", b"NaN"])
        )
        spoilt[which] = content[:start] + junk + content[end:]
    (folder / XML).write_bytes(spoilt["xml"])
    (folder / "pw.out").write_bytes(spoilt["text"])
    found = re.findall(r"!    total energy              = +(\S+) Ry", text.decode())
    try:
        result = read(folder)
    except NoResultError as error:
        assert error.diagnosis.name in CLASSES
    else:
        assert result.energy_eV == pytest.approx(float(found[-1]) * Rydberg, abs=1e-5)
        assert np.isfinite(result.forces_eV_per_A).all()
