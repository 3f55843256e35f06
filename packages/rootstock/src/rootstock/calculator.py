"""The calculator that most users need: a model by its name, in an environment of its own."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from ase import Atoms

from rootstock.errors import RootstockError, UnsupportedChangeError, WorkerTimeoutError
from rootstock.protocol.channel import ChannelClosedError, DeadlineError
from rootstock.root.resolve import (
    ResolvedModel,
    resolve_cluster,
    resolve_model,
    resolve_source,
)
from rootstock.server.base import SessionCalculator
from rootstock.server.listener import Listener
from rootstock.server.process import WorkerProcess
from rootstock.server.session import ExtendedSession, Session, negotiate

Transport = Literal["auto", "socket", "i-pi"]


class RootstockCalculator(SessionCalculator):
    """Any interatomic potential, run in an environment of its own.

    Energies in eV, forces in eV/angstrom, stress in eV/angstrom^3 by ASE's sign and order of
    components, each of them bit for bit what the model's own calculator gives. The process
    that runs the model starts at the first call, or by `start`, and stays for the next ones.

    Parameters
    ----------
    model
        The model's name, ``mace-medium``, ``chgnet``, ``mace-/path/to/weights.pt``; ``emt`` and
        ``lj`` are built in. With `environment`, what its `setup` gets as its model.
    cluster
        The name of a cluster whose root is known; see `rootstock clusters`.
    root
        A folder made by `rootstock init`. Neither this nor `cluster`: the environment variable
        ROOTSTOCK_ROOT.
    environment
        A Python file with ``setup(model, device, **kwargs)``, which this interpreter runs.
    device
        What `setup` gets as its device: ``cpu``, ``cuda``, ``cuda:1``.
    options
        Further arguments of `setup`, which have to be of JSON's types.
    timeout
        Seconds a calculation may take; None for no limit. Then the process is killed.
    startup_timeout
        Seconds until the model has to be ready, likewise.
    transport
        ``auto``: shared memory where it is to be had. ``socket``: everything through the socket.
        ``i-pi``: the plain protocol, in atomic units, which knows no species.
    log
        A file to append what the process prints to, ``-`` for standard error. Its last lines
        are in the errors anyhow.
    variables
        Environment variables of the process over the user's own, such as
        ``{"OMP_NUM_THREADS": "1"}`` where several share a machine.

    Raises
    ------
    RootstockError
        If nothing serves the model, or the arguments contradict each other.
    """

    def __init__(
        self,
        model: str | None = None,
        *,
        cluster: str | None = None,
        root: str | Path | None = None,
        environment: str | Path | None = None,
        device: str = "cpu",
        options: Mapping[str, Any] | None = None,
        timeout: float | None = 3600.0,
        startup_timeout: float | None = 600.0,
        transport: Transport = "auto",
        log: str | Path | None = None,
        variables: Mapping[str, str] | None = None,
    ) -> None:
        self._arguments: dict[str, Any] = {
            "model": model,
            "cluster": cluster,
            "root": root,
            "environment": environment,
            "device": device,
            "options": dict(options or {}),
            "timeout": timeout,
            "startup_timeout": startup_timeout,
            "transport": transport,
            "log": log,
            "variables": dict(variables or {}),
        }
        if transport not in ("auto", "socket", "i-pi"):
            raise ValueError(f"transport={transport!r}: one of auto, socket, i-pi")
        if startup_timeout is not None and startup_timeout <= 0:
            raise ValueError(f"startup_timeout={startup_timeout}: a positive number of seconds")
        if clash := {"model", "device"} & self._arguments["options"].keys():
            raise ValueError(f"options: {sorted(clash)[0]} is an argument of the calculator")
        try:
            self._options = json.dumps(self._arguments["options"])
        except (TypeError, ValueError) as error:
            raise ValueError(f"options go to another process as JSON: {error}") from error
        self.resolved = _resolve(model, cluster, root, environment)
        self._startup_timeout = startup_timeout
        self._transport = transport
        self._log = log
        super().__init__(timeout=timeout)
        self.parameters.update(
            model=model or self.resolved.environment, device=device, **self._arguments["options"]
        )
        self._device = device

    @property
    def about(self) -> dict[str, Any]:
        """What the running worker says of itself: calculator, versions, process id."""
        session = self._session
        return dict(session.about) if isinstance(session, ExtendedSession) else {}

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle and copy as what it was made from; a copy starts a process of its own."""
        atoms = self.atoms
        return _restore, (type(self), self._arguments, self.results if atoms else {}, atoms)

    def _restart_for(self, error: UnsupportedChangeError) -> bool:
        return True  # a new worker takes its species from the first structure

    def _name_of_model(self) -> str:
        resolved = self.resolved
        if self._arguments["environment"] is None:
            return str(self._arguments["model"])
        return f"{resolved.source.name}" + (f" ({resolved.argument})" if resolved.argument else "")

    def _open(self, atoms: Atoms | None) -> tuple[Session, WorkerProcess]:
        resolved = self.resolved
        what = self._name_of_model()
        listener = Listener.private()
        process: WorkerProcess | None = None
        try:
            process = WorkerProcess(
                [
                    # -s and -P: neither the user's own packages nor the present folder's modules
                    *(str(resolved.python), "-s", "-P", "-m", "rootstock.worker"),
                    *("--socket", listener.address),
                    *("--source", str(resolved.source)),
                    *("--model", resolved.argument),
                    *("--device", self._device),
                    *("--options", self._options),
                ],
                variables={**resolved.variables, **self._arguments["variables"]},
                what=what,
                log=self._log,
            )
            channel = listener.accept(self._startup_timeout, process.demand_alive)
            channel.watch = process.demand_alive
            channel.deadline = None
            session = negotiate(
                channel,
                extend=self._transport != "i-pi",
                shared_memory=self._transport == "auto",
            )
        except DeadlineError as error:
            assert process is not None  # noqa: S101 - accept comes after it
            process.kill()
            raise WorkerTimeoutError(
                f"{what} was not ready within {self._startup_timeout:g} s and was ended",
                process.output.text(),
            ) from error
        except ChannelClosedError:
            assert process is not None  # noqa: S101
            process.raise_ended()
        except BaseException:
            if process is not None:
                process.kill()
            raise
        finally:
            # nobody else may connect, and nothing is left on disk while the model runs
            listener.close()
        return session, process


def _resolve(
    model: str | None,
    cluster: str | None,
    root: str | Path | None,
    environment: str | Path | None,
) -> ResolvedModel:
    if environment is not None:
        if cluster is not None or root is not None:
            raise RootstockError("environment= is a file of yours: give no cluster or root with it")
        return dataclasses.replace(resolve_source(Path(environment)), argument=model or "")
    if not model:
        raise RootstockError("name a model, for instance model='mace-medium' or model='emt'")
    if cluster is not None and root is not None:
        raise RootstockError("give a cluster or a root, not both")
    if cluster is not None:
        root = resolve_cluster(cluster)
    elif root is None:
        root = os.environ.get("ROOTSTOCK_ROOT") or Path()
    return resolve_model(Path(root).expanduser(), model)


def _restore(
    kind: type[RootstockCalculator], arguments: dict[str, Any], results: Any, atoms: Atoms | None
) -> RootstockCalculator:
    calculator = kind(**arguments)
    if atoms is not None:
        calculator.atoms = atoms
        calculator.results = results
    return calculator
