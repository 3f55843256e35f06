"""The worker's side of plain i-PI, from which a rootstock server goes over to the extension."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

import numpy as np
from ase import Atoms
from ase.calculators.calculator import all_changes
from ase.stress import voigt_6_to_full_3x3_stress

from rootstock.errors import ProtocolError
from rootstock.protocol import extension, ipi
from rootstock.protocol.channel import Channel, ChannelClosedError
from rootstock.protocol.structures import of_species
from rootstock.worker.extended import ExtendedLoop
from rootstock.worker.model import Failure, Model, Results, has_volume


class ClientLoop:
    """An i-PI client (driver) for one model.

    i-PI tells no species: they come from `template`, or from a JSON object in INIT's string
    with `numbers` and `pbc`, which replaces it.
    """

    def __init__(self, channel: Channel, model: Model, template: Atoms | None = None) -> None:
        self._channel = channel
        self._model = model
        self._atoms = None if template is None else _bare(template)
        self._fresh = True
        self._batch = 1

    def run(self) -> None:
        """Serve until EXIT or the end of the connection. Raises what the model raises."""
        state = ipi.NEEDINIT
        answers: list[ipi.Forces] = []
        extended = False
        while True:
            try:
                head = bytes(self._channel.receive(ipi.WORD))
            except ChannelClosedError:
                return
            if head == ipi.STATUS:
                if extended:
                    self._channel.send(extension.READY_EXTENDED)
                    ExtendedLoop(self._channel, self._model).run()
                    return
                self._channel.send(state)
            elif head == ipi.INIT:
                _, text = ipi.read_init(self._channel)
                extended = extension.is_announced(text)
                self._initialise(text)
                state = ipi.READY
            elif head == ipi.POSDATA:
                answers = self._answer()
                state = ipi.HAVEDATA
            elif head == ipi.GETFORCE:
                if state != ipi.HAVEDATA:
                    raise ProtocolError("GETFORCE came before POSDATA")
                message = (
                    ipi.forceready_message(answers[0])
                    if self._batch == 1
                    else ipi.forceready_batch_message(answers)
                )
                self._channel.send(message)
                state = ipi.READY
            elif head == ipi.EXIT:
                return
            else:
                raise ProtocolError(f"{head!r} is no i-PI message")

    def _initialise(self, text: str) -> None:
        """Take species and pbc from a JSON string, or i-PI's own `batch_size:N`."""
        try:
            told = json.loads(text)
        except ValueError:
            told = None
        if isinstance(told, Mapping):
            if "numbers" in told:
                self._atoms = of_species(told)
                self._fresh = True
            return
        for token in text.split(","):
            name, _, value = token.partition(":")
            if name.strip() == "batch_size" and value.strip().isdigit():
                self._batch = max(1, int(value))

    def _answer(self) -> list[ipi.Forces]:
        if self._batch == 1:
            given = [ipi.read_posdata(self._channel)]
            atoms = self._place(given[0])
            changes = list(all_changes) if self._fresh else ["positions", "cell"]
            outcomes: Sequence[Results | Failure] = [self._model.evaluate(atoms, (), changes)]
            self._fresh = False
            structures = [atoms]
        else:
            given = ipi.read_posdata_batch(self._channel, self._batch)
            structures = [self._place(one).copy() for one in given]
            outcomes = self._model.evaluate_many(structures)
        answers = []
        for atoms, outcome in zip(structures, outcomes, strict=True):
            if isinstance(outcome, Failure):
                raise outcome.__cause__ or outcome
            answers.append(_forces(atoms, outcome))
        return answers

    def _place(self, given: ipi.Positions) -> Atoms:
        if self._atoms is None:
            raise ProtocolError(
                "the server told no species: start the worker with --template FILE, a structure "
                "with the atoms in the server's order"
            )
        if len(self._atoms) != len(given.positions):
            raise ProtocolError(
                f"the server sent {len(given.positions)} atoms, the template has {len(self._atoms)}"
            )
        self._atoms.arrays["positions"][...] = given.positions
        self._atoms.cell.array[...] = given.cell
        return self._atoms


def _forces(atoms: Atoms, results: Results) -> ipi.Forces:
    virial = np.zeros((3, 3))
    if "stress" in results and has_volume(atoms):
        stress = np.asarray(results["stress"], dtype=float)
        full = stress if stress.shape == (3, 3) else voigt_6_to_full_3x3_stress(stress)
        virial = -full * atoms.get_volume()
    extra = {
        name: np.asarray(results[name]).tolist()
        for name in ("dipole", "charges", "magmoms")
        if name in results
    }
    return ipi.Forces(
        energy=float(np.asarray(results["energy"]).reshape(())),
        forces=np.ascontiguousarray(results["forces"], dtype=np.float64),
        virial=virial,
        # never empty: a reader may take nothing for a closed connection
        extra=json.dumps(extra).encode(),
    )


def _bare(template: Atoms) -> Atoms:
    atoms: Atoms = template.copy()
    atoms.calc = None
    atoms.set_constraint()
    return atoms
