"""Reading what LAMMPS wrote, also where it died in the middle of a line."""

from __future__ import annotations

import numpy as np
import pytest

from pyacemaker.dynamics.base import DynamicsError
from pyacemaker.dynamics.lammps_output import find_error, find_halt, read_dump, read_trace

FRAME = """ITEM: TIMESTEP
20
ITEM: NUMBER OF ATOMS
2
ITEM: BOX BOUNDS xy xz yz pp pp pp
0.0 12.5 2.0
0.0 10.0 0.5
0.0 10.0 0.0
ITEM: ATOMS id xu yu zu f_gamma
2 1.0 2.0 3.0 0.5
1 4.0 5.0 6.0 1.5
"""


def _dump(tmp_path, text):
    path = tmp_path / "a.dump"
    path.write_text(text)
    return path


def test_tilted_box_and_order(tmp_path):
    """The file holds the bounding box (LAMMPS manual, Howto_triclinic) of a tilted box.

    xhi_bound = xhi + max(0, xy, xz, xy + xz) = 10 + 2.5.
    """
    (frame,) = read_dump(_dump(tmp_path, FRAME), 2)
    assert frame.step == 20
    np.testing.assert_allclose(frame.lower, [0.0, 0.0, 0.0])
    np.testing.assert_allclose(frame.vectors, [[10.0, 0, 0], [2.0, 10.0, 0], [0.5, 0.0, 10.0]])
    np.testing.assert_allclose(frame.block("xu", "yu", "zu"), [[4, 5, 6], [1, 2, 3]])
    np.testing.assert_allclose(frame.columns["f_gamma"], [1.5, 0.5])


@pytest.mark.parametrize("cut", range(1, len(FRAME), 7))
def test_a_frame_cut_short_is_left_out(tmp_path, cut):
    path = _dump(tmp_path, FRAME + FRAME[:-cut])
    frames = read_dump(path, 2)
    # only the line break at the very end can be missing unseen
    assert len(frames) == (2 if cut <= 1 else 1)


def test_a_frame_with_fewer_atoms_ends_the_reading(tmp_path):
    assert read_dump(_dump(tmp_path, FRAME), 3) == []
    assert read_dump(tmp_path / "missing", 2) == []


def test_trace_skips_what_is_cut_and_counts_a_step_once(tmp_path):
    path = tmp_path / "trace.txt"
    path.write_text("# step ...\n0 300 1.5 2.5 47\n0 300 1.5 2.5 47\n10 310 nan 2.5 47\n20 31")
    trace = read_trace(path, 2.0)
    assert [(s.step, s.time_fs) for s in trace] == [(0, 0.0), (10, 20.0)]
    assert np.isnan(trace[1].gamma_max)


def test_halt_message():
    log = (
        "x\nFix halt condition for fix-id gamma_watchdog met on step 120 with value 5.2 (src/x.cpp)"
    )
    halt = find_halt(log)
    assert halt is not None
    assert (halt.kind, halt.step, halt.value) == ("gamma", 120, 5.2)
    assert find_halt("nothing") is None
    assert find_halt(log.replace("gamma_watchdog", "other")) is None


def test_errors_in_one_line():
    lost = find_error("ERROR: Lost atoms: original 32 current 4 (src/src/thermo.cpp:494)")
    assert lost is not None
    assert lost.startswith("lost atoms: 4 of 32 are left")
    assert "finite" in str(find_error("ERROR on proc 0: Non-numeric atom coords (src/d.cpp:1)"))
    assert find_error("ERROR: Something new (src/src/x.cpp:3)") == "LAMMPS: ERROR: Something new"
    assert find_error("all is well") is None
    with pytest.raises(DynamicsError, match=r"Open of file x\.so failed: why.*build-plugin"):
        find_error("Open of file x.so failed: why\nERROR: Unrecognized pair style 'pace' (s.cpp:1)")
