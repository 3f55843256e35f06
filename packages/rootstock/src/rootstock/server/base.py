"""What a calculator whose model is in another process has to take care of.

ASE's own machinery compares and copies the whole structure for every property, which costs more
than a message to another process does. Here a change is found by comparing bytes, which misses
none (species, pbc, charges, magnetic moments, tags and `info` included), and `atoms`, the copy of
the last structure, is made only for who asks for it.
"""

from __future__ import annotations

import os
import sys
import threading
import time
import weakref
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any, ClassVar, Self

import numpy as np
from ase import Atoms
from ase.calculators.calculator import (
    Calculator,
    PropertyNotImplementedError,
    all_changes,
)

from rootstock.errors import (
    ModelError,
    UnsupportedChangeError,
    WorkerDiedError,
    WorkerTimeoutError,
)
from rootstock.protocol.channel import ChannelClosedError, DeadlineError
from rootstock.server.process import WorkerProcess
from rootstock.server.session import Outcome, Session
from rootstock.server.state import State, changes_between, observe

STANDARD = ("energy", "free_energy", "forces", "stress")
_MOST_ATOMS = 500_000  # in one message: some 30 MB of positions and forces
_GOODBYE_S = 2.0


class SessionCalculator(Calculator):  # type: ignore[misc]  # ASE is untyped
    """An ASE calculator with a session to another process, which is made when it is needed.

    Threads are served one after another. A forked child has no part in its parent's session:
    it makes its own at its first call. What breaks a session (an end, a time limit, an
    interrupt) ends the other process, and the next call starts anew.
    """

    implemented_properties: list[str] = list(STANDARD)  # noqa: RUF012 - ASE's own way
    default_parameters: ClassVar[dict[str, Any]] = {}

    def __init__(self, *, timeout: float | None) -> None:
        if timeout is not None and timeout <= 0:
            raise ValueError(f"timeout={timeout}: a time limit is a positive number of seconds")
        self._state: State | None = None
        self._template: Atoms | None = None
        self._kept_of_template: tuple[bytes, ...] = ()
        self._copy: Atoms | None = None
        self._session: Session | None = None
        self._process: WorkerProcess | None = None
        self._extra: list[str] = []
        self._lock = threading.RLock()
        self._owner = os.getpid()
        self.timeout = timeout
        super().__init__()
        self.results: dict[str, Any] = {}
        _living.add(self)

    # -- what the subclasses do

    def _open(self, atoms: Atoms | None) -> tuple[Session, WorkerProcess | None]:
        """Make a session."""
        raise NotImplementedError

    def _name_of_model(self) -> str:
        raise NotImplementedError

    def _restart_for(self, error: UnsupportedChangeError) -> bool:
        """Say whether a new session may take what the present one cannot be told."""
        return False

    # -- ASE's interface

    @property
    def atoms(self) -> Atoms | None:
        """The last structure that was computed (a copy), or None."""
        if self._state is None or self._template is None:
            return None
        if self._copy is None:
            copy: Atoms = self._template.copy()
            shape = copy.positions.shape
            copy.arrays["positions"] = np.frombuffer(self._state.positions).reshape(shape).copy()
            copy.cell.array[...] = np.frombuffer(self._state.cell).reshape(3, 3)
            self._copy = copy
        return self._copy

    @atoms.setter
    def atoms(self, atoms: Atoms | None) -> None:
        if atoms is None:
            self._state = None
            self._template = None
            self._copy = None
        else:
            self._remember(atoms, observe(atoms))

    def check_state(self, atoms: Atoms, tol: float = 1e-15) -> list[str]:
        """Return what has changed since the last calculation; `tol` is not used, any bit counts."""
        return changes_between(self._state, observe(atoms))

    def get_property(
        self, name: str, atoms: Atoms | None = None, allow_calculation: bool = True
    ) -> Any:
        """Return a property (a copy), computed if need be. See ASE's `Calculator`.

        Raises
        ------
        PropertyNotImplementedError
            If the model does not know the property.
        WorkerError
            If the process ended, did not answer in time, or cannot be set up.
        ModelError
            If the model raised an exception, or answered NaN.
        """
        with self._lock:
            self._demand_known(name)
            state = None
            if atoms is None:
                atoms = self.atoms
            else:
                state = observe(atoms)
                if state != self._state:
                    self.results = {}
                    self._state = None
            if name not in self.results:
                if not allow_calculation:
                    return None
                if atoms is None:
                    raise ValueError("the calculator has no structure yet")
                self._calculate(atoms, [name], state)
            value = self.results.get(name)
            if value is None:
                raise PropertyNotImplementedError(
                    f"{self._name_of_model()} gives no {name} for this structure"
                )
            return value.copy() if isinstance(value, np.ndarray) else value

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: Sequence[str] = ("energy",),
        system_changes: Sequence[str] = tuple(all_changes),
    ) -> None:
        """Compute energy, forces and stress together, and what else is asked for."""
        with self._lock:
            atoms = self.atoms if atoms is None else atoms
            if atoms is None:
                raise ValueError("no structure was given")
            for name in properties:
                self._demand_known(name)
            self._calculate(atoms, properties, None)

    def get_spin_polarized(self) -> bool:
        """Say no. ASE would set a bound method here, by which the calculator holds itself."""
        return False

    # -- more than ASE

    def calculate_many(
        self,
        structures: Sequence[Atoms],
        properties: Sequence[str] = STANDARD,
        *,
        batch_size: int | None = None,
        allow_errors: bool = False,
    ) -> list[Any]:
        """Compute several structures, which travel together and need not be alike.

        Parameters
        ----------
        structures
            Any number of structures; their calculators are not looked at, and not set.
        properties
            What to return of each, where the model gives it (no stress without a cell).
        batch_size
            The most structures that the model gets at once; None for all of them, as far as
            one message should go (500,000 atoms).
        allow_errors
            Put a ModelError in the place of a structure that the model fails for, and go on.

        Returns
        -------
        list of dict
            For each structure, in order, `energy` and `free_energy` (eV), `forces` (N x 3,
            eV/angstrom), `stress` (6, Voigt, eV/angstrom^3) and whatever was asked for.

        Raises
        ------
        ModelError
            Unless `allow_errors`; its `index` is the structure's.
        WorkerError
            If the process ended or was too slow: `timeout` times the number of structures.
        """
        if batch_size is not None and batch_size < 1:
            raise ValueError(f"batch_size={batch_size}: at least one structure goes at a time")
        wanted = set(properties)
        answers: list[Any] = []
        with self._lock:
            for name in properties:
                self._demand_known(name)
            self._want(properties)
            for chunk in _chunks(structures, batch_size):
                limit = None if self.timeout is None else self.timeout * len(chunk)
                for outcome in self._ask(chunk, limit):
                    if isinstance(outcome, ModelError):
                        outcome.index = len(answers)
                        if not allow_errors:
                            raise _as_raised(outcome)
                        answers.append(outcome)
                    else:
                        answers.append({k: v for k, v in outcome.items() if k in wanted})
        return answers

    def start(self) -> Self:
        """Make the session now and not at the first call. Raises what a call would."""
        with self._lock:
            self._ready(None)
        return self

    def close(self) -> None:
        """End the session and the other process; the next call starts anew."""
        if self._owner != os.getpid():
            return  # a forked child's, which `_after_fork` has not reached
        with self._lock:
            session, process = self._session, self._process
            self._session = self._process = None
            if session is not None:
                session.close()
            if process is not None:
                process.wait(_GOODBYE_S if session is not None else 0.0)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __del__(self, _ending: Callable[[], bool] = sys.is_finalizing) -> None:
        # At the interpreter's end modules are gone; the worker then ends with its lifeline.
        if getattr(self, "_lock", None) is not None and not _ending():
            self.close()

    # -- inside

    def _want(self, properties: Sequence[str]) -> None:
        for name in properties:
            if name not in STANDARD and name not in self._extra:
                self._extra.append(name)

    def _calculate(self, atoms: Atoms, properties: Sequence[str], state: State | None) -> None:
        """Compute a structure, whose `state` may be known already, and keep the results."""
        self._want(properties)
        state = observe(atoms) if state is None else state
        self.results = {}
        self._state = None
        outcome = self._ask([atoms], self.timeout, [state.kept])[0]
        if isinstance(outcome, ModelError):
            raise _as_raised(outcome)
        self.results = outcome
        self._remember(atoms, state)

    def _demand_known(self, name: str) -> None:
        if name not in self.implemented_properties and self._session is None:
            self._ready(None)  # only the model itself knows what it can do
        if name not in self.implemented_properties:
            raise PropertyNotImplementedError(f"{self._name_of_model()} gives no {name}")

    def _ready(self, atoms: Atoms | None) -> Session:
        if self._session is None:
            self._session, self._process = self._open(atoms)
            known = self._session.implemented
            self.implemented_properties = [*known, *({"free_energy"} - set(known))]
        return self._session

    def _ask(
        self,
        structures: Sequence[Atoms],
        limit: float | None,
        known: Sequence[tuple[bytes, ...]] | None = None,
    ) -> list[Outcome]:
        session = self._ready(structures[0])
        channel = session.channel
        channel.deadline = None if limit is None else time.monotonic() + limit
        try:
            return session.calculate(structures, self._extra, known)
        except PropertyNotImplementedError:
            raise
        except UnsupportedChangeError as error:
            if not self._restart_for(error):
                raise
            self._break()
            return self._ask(structures, limit, known)
        except ChannelClosedError as error:
            process = self._process
            self._process = None
            self._break()
            if process is not None:
                process.raise_ended()
            raise WorkerDiedError(
                f"the client that computes {self._name_of_model()} closed the connection"
            ) from error
        except DeadlineError as error:
            process = self._process
            self._break()
            raise WorkerTimeoutError(
                f"{self._name_of_model()} did not answer within {limit:g} s and was ended",
                process.output.text() if process is not None else "",
            ) from error
        except BaseException:
            # an interrupt or a broken message: what the other side says next is not to be trusted
            self._break()
            raise

    def _break(self) -> None:
        """Drop the session without a goodbye, and kill the other process."""
        session, process = self._session, self._process
        self._session = self._process = None
        if session is not None:
            session.channel.close()
        if process is not None:
            process.kill()

    def _remember(self, atoms: Atoms, state: State) -> None:
        if self._template is None or self._kept_of_template != state.kept:
            template: Atoms = atoms.copy()
            template.calc = None
            self._template = template
            self._kept_of_template = state.kept
        self._state = state
        self._copy = None

    def _after_fork(self) -> None:
        """In a forked child: let go of what is the parent's."""
        self._lock = threading.RLock()  # another thread of the parent may have held it
        session, process = self._session, self._process
        self._session = self._process = None
        self._owner = os.getpid()
        if session is not None:
            session.channel.close()
        if process is not None:
            process.forget()


_living: weakref.WeakSet[SessionCalculator] = weakref.WeakSet()


def _forget_all() -> None:
    for calculator in list(_living):
        calculator._after_fork()


os.register_at_fork(after_in_child=_forget_all)


def _chunks(structures: Sequence[Atoms], batch_size: int | None) -> list[list[Atoms]]:
    """Split structures into messages."""
    chunks: list[list[Atoms]] = []
    atoms = 0
    for one in structures:
        full = chunks and batch_size is not None and len(chunks[-1]) >= batch_size
        if not chunks or full or atoms + len(one) > _MOST_ATOMS:
            chunks.append([])
            atoms = 0
        chunks[-1].append(one)
        atoms += len(one)
    return chunks


def _as_raised(error: ModelError) -> Exception:
    """Return ASE's own error where the model said that it does not know a property."""
    cause = error.__cause__
    return cause if isinstance(cause, PropertyNotImplementedError) else error
