"""Any i-PI client as an ASE calculator: what ASE's SocketIOCalculator does, with time limits."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ase import Atoms

from rootstock.errors import RootstockError, UnsupportedChangeError, WorkerTimeoutError
from rootstock.protocol.channel import ChannelClosedError, DeadlineError
from rootstock.server.base import SessionCalculator
from rootstock.server.listener import Listener
from rootstock.server.process import WorkerProcess
from rootstock.server.session import Session, negotiate

Command = Sequence[str] | Callable[[Atoms], Sequence[str]]


class IPICalculator(SessionCalculator):
    """Waits for an i-PI client (driver) and has it compute: ASE's, i-PI's, a DFT code's.

    Parameters
    ----------
    unixsocket
        Listen on /tmp/ipi_NAME, where ASE's and i-PI's clients look, open to this user only.
    port, host
        Or on a TCP port; 0 takes a free one, which `port` then tells. Anyone who reaches the
        port can connect, so `host` is this machine alone unless said otherwise.
    command
        What starts a client, as a list; it is ended with this calculator. A function gets the
        structure and returns the list, and is called again when species or pbc change, which
        a running client cannot be told. None: the client is started by someone else.
    timeout
        Seconds a calculation may take, and a client may take to come; None for no limit.

    Raises
    ------
    RootstockError
        If the address is taken.
    """

    def __init__(
        self,
        *,
        unixsocket: str | None = None,
        port: int | None = None,
        host: str = "localhost",
        command: Command | None = None,
        timeout: float | None = 3600.0,
        log: str | None = None,
    ) -> None:
        if (unixsocket is None) == (port is None):
            raise RootstockError("give either a unixsocket or a port")
        self._command = command
        self._log = log
        self._listener = (
            Listener.named(unixsocket)
            if unixsocket is not None
            else Listener.inet(host, port if port is not None else 0)
        )
        super().__init__(timeout=timeout)

    @property
    def port(self) -> int:
        """The TCP port that is listened on; 0 for a Unix socket."""
        return self._listener.port

    def __reduce__(self) -> tuple[Any, ...]:
        raise TypeError("an IPICalculator owns a socket: it cannot be pickled or copied")

    def close(self) -> None:
        """End the client and stop listening."""
        super().close()
        if (listener := getattr(self, "_listener", None)) is not None:
            listener.close()

    def _name_of_model(self) -> str:
        return f"the client at {self._listener.address}"

    def _restart_for(self, error: UnsupportedChangeError) -> bool:
        return callable(self._command)

    def _after_fork(self) -> None:
        super()._after_fork()
        self._listener.forget()

    def _open(self, atoms: Atoms | None) -> tuple[Session, WorkerProcess | None]:
        process: WorkerProcess | None = None
        command = self._command
        if callable(command):
            if atoms is None:
                raise RootstockError("a client that is started for a structure needs one first")
            command = command(atoms)
        if command is not None:
            process = WorkerProcess(
                command, variables={}, what=self._name_of_model(), log=self._log, lifeline=False
            )
        try:
            watch = None if process is None else process.demand_alive
            channel = self._listener.accept(self.timeout, watch)
            channel.watch = watch
            return negotiate(channel), process
        except DeadlineError as error:
            output = ""
            if process is not None:
                process.kill()
                output = process.output.text()
            raise WorkerTimeoutError(str(error), output) from error
        except ChannelClosedError:
            if process is None:
                raise
            process.raise_ended()
        except BaseException:
            if process is not None:
                process.kill()
            raise
