"""What can go wrong with a model that runs in a process of its own.

All are `RootstockError`. A `WorkerError` means that the process is gone: the next call starts a
new one. After a `ModelError` the process is still there and takes the next structure.
"""

from __future__ import annotations

import signal


class RootstockError(RuntimeError):
    """Whatever rootstock itself refuses or reports."""


class ProtocolError(RootstockError):
    """The other side of a socket does not keep to the protocol, or is not who it should be."""


class UnsupportedChangeError(RootstockError):
    """A change (species, number of atoms, pbc) that a plain i-PI client cannot be told."""


class ModelError(RootstockError):
    """The model raised an exception for a structure; the worker lives on.

    `remote` is the traceback in the worker, `kind` the name of the exception's class and
    `index` the place of the structure among those given to `calculate_many`, else 0.
    """

    def __init__(self, message: str, *, kind: str = "", remote: str = "", index: int = 0) -> None:
        super().__init__(message)
        self.kind = kind
        self.remote = remote
        self.index = index

    def __reduce__(self) -> tuple[object, ...]:
        return _rebuild_model_error, (type(self), str(self), self.kind, self.remote, self.index)


class NotFiniteError(ModelError):
    """The model answered NaN or infinity."""


class WorkerError(RootstockError):
    """The worker is gone. `output` holds the last lines that it wrote."""

    def __init__(self, message: str, output: str = "") -> None:
        tail = f"\n--- the end of the worker's output ---\n{output}" if output else ""
        super().__init__(message + tail)
        self.message = message
        self.output = output

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (self.message, self.output)


class WorkerStartError(WorkerError):
    """The worker's interpreter cannot be started."""


class ModelSetupError(WorkerError):
    """The environment file cannot be loaded, or its `setup` raised."""


class WorkerTimeoutError(WorkerError, TimeoutError):
    """The worker did not answer within its time limit and was ended."""


class WorkerDiedError(WorkerError):
    """The worker ended by itself or was killed. `returncode` is negative for a signal."""

    def __init__(self, message: str, output: str = "", returncode: int | None = None) -> None:
        super().__init__(message, output)
        self.returncode = returncode

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (self.message, self.output, self.returncode)


def _rebuild_model_error(
    kind_of_error: type[ModelError], message: str, kind: str, remote: str, index: int
) -> ModelError:
    return kind_of_error(message, kind=kind, remote=remote, index=index)


def describe_exit(returncode: int) -> str:
    """Say how a process ended, from its return code (negative for a signal)."""
    if returncode >= 0:
        return f"ended with exit status {returncode}"
    try:
        name = signal.Signals(-returncode).name
    except ValueError:
        name = f"signal {-returncode}"
    return f"was killed by {name}"
