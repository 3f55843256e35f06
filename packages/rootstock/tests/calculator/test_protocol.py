"""The bytes on the wire: i-PI's own code writes the same ones; structures survive the way."""

from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.units import Bohr, Hartree
from ipi.interfaces.sockets import Driver, Status

import rootstock
from rootstock.errors import ProtocolError
from rootstock.protocol import extension, ipi
from rootstock.protocol.channel import Channel, ChannelClosedError, DeadlineError
from rootstock.protocol.structures import (
    decode_info,
    describe,
    encode_info,
    kept,
    rebuild,
    result_views,
    schema_of,
)


def pair() -> tuple[socket.socket, Channel]:
    """Return two connected ends, one of them ours."""
    theirs, ours = socket.socketpair()
    return theirs, Channel(ours)


def test_posdata_is_what_ipi_sends(copper: Atoms) -> None:
    theirs, channel = pair()
    driver = Driver(theirs)
    driver.status = Status.Up | Status.Ready
    h = np.ascontiguousarray(copper.cell.array.T) / Bohr
    driver.sendpos((copper.positions / Bohr).ravel(), (h, np.linalg.inv(h)))
    ours = ipi.posdata_message(copper.cell.array, copper.positions)
    ipis = bytes(channel.receive(len(ours)))
    assert ipis[:12] == ours[:12]
    split = [12, 12 + 72, 12 + 144, 12 + 148]
    np.testing.assert_allclose(
        np.frombuffer(ipis[split[0] : split[2]]),
        np.frombuffer(ours[split[0] : split[2]]),
        rtol=1e-10,
        atol=1e-14,
    )
    assert ipis[split[2] : split[3]] == ours[split[2] : split[3]]
    np.testing.assert_allclose(
        np.frombuffer(ipis[split[3] :]), np.frombuffer(ours[split[3] :]), rtol=1e-14
    )
    theirs.sendall(ours)
    assert bytes(channel.receive(12)) == ipi.POSDATA
    read = ipi.read_posdata(channel)
    np.testing.assert_allclose(read.cell, copper.cell.array, rtol=1e-15, atol=1e-15)
    np.testing.assert_allclose(read.positions, copper.positions, rtol=1e-15, atol=1e-15)


def test_forceready_is_what_ipi_reads() -> None:
    theirs, channel = pair()
    driver = Driver(theirs)
    driver.status = Status.Up | Status.HasData
    rng = np.random.default_rng(1)
    virial = rng.normal(size=(3, 3))
    answer = ipi.Forces(-3.5, rng.normal(size=(5, 3)), virial, b'{"dipole": [1.0, 0.0, 2.0]}')
    channel.send(ipi.forceready_message(answer))
    energy, forces, read, extra = driver.getforce()
    assert energy * Hartree == pytest.approx(-3.5, rel=1e-14)
    np.testing.assert_allclose(forces.reshape(5, 3) * Hartree / Bohr, answer.forces, rtol=1e-14)
    np.testing.assert_allclose(read.T * Hartree, virial, rtol=1e-14)
    assert extra["dipole"] == [1.0, 0.0, 2.0]


def test_init_carries_ipis_batch_size_and_our_own() -> None:
    theirs, channel = pair()
    driver = Driver(theirs)
    driver.status = Status.Up | Status.NeedsInit
    driver.batch_size = 4
    driver.initialize(2, "a : 1")
    assert bytes(channel.receive(12)) == ipi.INIT
    index, text = ipi.read_init(channel)
    assert (index, "batch_size:4" in text) == (2, True)
    assert not extension.is_announced(text)
    assert extension.is_announced(extension.announcement())


def test_a_cell_without_volume_has_a_pseudo_inverse() -> None:
    message = ipi.posdata_message(np.zeros((3, 3)), np.zeros((1, 3)))
    assert np.isfinite(np.frombuffer(message[12:156])).all()


def test_words_are_twelve_bytes() -> None:
    assert ipi.word("EXIT") == b"EXIT        "
    with pytest.raises(ValueError, match="longer"):
        ipi.word("A-LONG-MESSAGE")


def test_structures_survive_the_way(copper: Atoms) -> None:
    copper.set_initial_charges(np.linspace(-1, 1, len(copper)))
    copper.set_initial_magnetic_moments(np.arange(3.0 * len(copper)).reshape(-1, 3))
    copper.set_tags(range(len(copper)))
    copper.pbc = [True, False, True]
    copper.info = {
        "charge": -1,
        "spin": np.int64(3),
        "field": np.array([0.1, 1 / 3, -0.0]),
        "name": "a crystal",
        "nested": {"a": [1, None, True]},
        "object": object(),
        3: "no string",
    }
    others = [copper, Atoms("H"), bulk("Au")]
    told, data = describe(others)
    for old, new in zip(others, rebuild(told, memoryview(b"".join(data))), strict=True):
        assert kept(new) == kept(old)
        assert (new.numbers == old.numbers).all()
    first = rebuild(told, memoryview(b"".join(data)))[0]
    assert first.info.keys() == {"charge", "spin", "field", "name", "nested"}
    assert first.info["field"].tobytes() == copper.info["field"].tobytes()
    assert isinstance(first.info["spin"], np.int64)
    assert decode_info(encode_info(copper.info))["nested"] == {"a": [1, None, True]}


def test_results_survive_the_way() -> None:
    results = {
        "energy": -1 / 3,
        "forces": np.random.default_rng(2).normal(size=(3, 3)).astype(np.float32),
        "magmoms": np.zeros((0,)),
        "charges": np.arange(3)[::-1],
        "stress": np.arange(6.0)[::-1],
        "object": object(),
    }
    schema, arrays = schema_of(results)
    data = b"".join(array.tobytes() for array in arrays)
    views, end = result_views(schema, memoryview(data), 0)
    back = views.copy()
    assert end == len(data)
    assert back.keys() == results.keys() - {"object"}
    for name, value in back.items():
        assert np.asarray(value).tobytes() == np.asarray(results[name]).tobytes()
    with pytest.raises(ProtocolError, match="does not fit"):
        result_views([["forces", "<f8", [100, 3]]], memoryview(data), 0)
    with pytest.raises(ProtocolError, match="does not fit"):
        result_views([["forces", "|O", [1]]], memoryview(data), 0)


def test_a_channel_waits_no_longer_than_it_should() -> None:
    import time

    theirs, channel = pair()
    channel.deadline = time.monotonic() + 0.3
    with pytest.raises(DeadlineError):
        channel.receive(4)
    with pytest.raises(DeadlineError):  # and does not stop a writer for ever either
        channel.send(bytes(1 << 24))
    theirs.close()
    channel.deadline = None
    with pytest.raises(ChannelClosedError):
        channel.send(bytes(1 << 24))


def test_the_worker_imports_numpy_and_ase_alone(tmp_path: Path) -> None:
    """An environment that is built holds nothing else; a copy of the package has to do."""
    source = Path(rootstock.__file__).parent
    allowed = {"numpy", "ase", "rootstock", "scipy"}  # ASE's own
    code = f"""
import sys
before = set(sys.modules)
sys.path.insert(0, {str(source.parent)!r})
import rootstock.worker.__main__, rootstock.worker.loop, rootstock.worker.source
import rootstock.calculator, rootstock.server.calculator
names = {{name.split(".")[0] for name in set(sys.modules) - before}}
print(",".join(sorted(n for n in names if n not in sys.stdlib_module_names)))
"""
    told = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert set(told.stdout.strip().split(",")) <= allowed


def test_the_package_is_cheap_to_import() -> None:
    code = "import sys, rootstock; print('numpy' in sys.modules, 'ase' in sys.modules)"
    told = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert told.stdout.split() == ["False", "False"]
