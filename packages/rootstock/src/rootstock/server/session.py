"""A connection to a client, which is asked for structures: by the extension, or by plain i-PI."""

from __future__ import annotations

import contextlib
import json
import math
import os
import socket
import time
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from ase import Atoms
from ase.calculators.calculator import PropertyNotImplementedError
from ase.stress import full_3x3_to_voigt_6_stress

from rootstock.errors import ModelError, NotFiniteError, ProtocolError, UnsupportedChangeError
from rootstock.protocol import extension, ipi
from rootstock.protocol.channel import Channel
from rootstock.protocol.lane import Arena, Lane, anonymous_file, rounded
from rootstock.protocol.structures import (
    Array,
    Results,
    ResultViews,
    describe,
    kept,
    moving_size,
    moving_views,
    result_views,
    species,
)

_PLAIN = ("energy", "free_energy", "forces", "stress")
_REPLY_PER_ATOM = 8 * 16
_REPLY_SPARE = 1 << 14

Outcome = Results | ModelError
Known = Sequence[tuple[bytes, ...]] | None


class Session(Protocol):
    """What both kinds of connection can do."""

    implemented: list[str]
    channel: Channel

    def calculate(
        self, structures: Sequence[Atoms], extra: Sequence[str], known: Known = None
    ) -> list[Outcome]:
        """Return results, or the model's error, for each structure.

        `known` spares the work of `kept` for each of them where that is done already.
        """
        ...

    def close(self) -> None:
        """Say goodbye and close the connection."""
        ...


def negotiate(
    channel: Channel, *, extend: bool = True, shared_memory: bool = True
) -> ExtendedSession | PlainSession:
    """Greet a client that has connected; return the best session that it can have.

    `channel.deadline` limits the time. Raises ProtocolError, ChannelClosedError, DeadlineError.
    """
    channel.send(ipi.STATUS)
    status = bytes(channel.receive(ipi.WORD))
    if status == ipi.NEEDINIT and extend:
        channel.send(ipi.init_message(0, extension.announcement()))
        channel.send(ipi.STATUS)
        status = bytes(channel.receive(ipi.WORD))
        if status == extension.READY_EXTENDED:
            return ExtendedSession(channel, shared_memory=shared_memory and channel.is_local)
    if status not in (ipi.READY, ipi.NEEDINIT):
        raise ProtocolError(f"the client greets with {status!r}, which is no i-PI status")
    return PlainSession(channel)


class PlainSession:
    """Any i-PI client. It knows one set of species, and is told cell and positions only."""

    def __init__(self, channel: Channel) -> None:
        self.channel = channel
        self.implemented = list(_PLAIN)
        self._kept: tuple[bytes, ...] | None = None

    def calculate(
        self, structures: Sequence[Atoms], extra: Sequence[str], known: Known = None
    ) -> list[Outcome]:
        """See `Session`. Raises UnsupportedChangeError for what the client cannot be told."""
        if not_there := [name for name in extra if name not in _PLAIN]:
            raise PropertyNotImplementedError(f"i-PI clients give no {not_there[0]}")
        states = [kept(atoms) for atoms in structures] if known is None else known
        return [self._one(*pair) for pair in zip(structures, states, strict=True)]

    def close(self) -> None:
        """See `Session`."""
        with contextlib.suppress(OSError):
            self.channel.deadline = time.monotonic() + 1.0
            self.channel.send(ipi.EXIT)
        self.channel.close()

    def _one(self, atoms: Atoms, now: tuple[bytes, ...]) -> Outcome:
        if self._kept is None:
            self._kept = now
        elif now != self._kept:
            raise UnsupportedChangeError(
                "species, pbc, charges, magnetic moments or info have changed, which a plain "
                "i-PI client cannot be told: use a new client"
            )
        channel = self.channel
        status = self._status()
        if status == ipi.NEEDINIT:
            # other clients do not read it
            channel.send(ipi.init_message(0, json.dumps(species(atoms))))
            status = self._status()
        if status != ipi.READY:
            raise ProtocolError(f"the client is {status!r} where READY was due")
        channel.send(ipi.posdata_message(atoms.cell.array, atoms.positions))
        status = self._status()
        if status != ipi.HAVEDATA:
            raise ProtocolError(f"the client is {status!r} where HAVEDATA was due")
        channel.send(ipi.GETFORCE)
        head = bytes(channel.receive(ipi.WORD))
        if head != ipi.FORCEREADY:
            raise ProtocolError(f"the client sent {head!r} where FORCEREADY was due")
        answer = ipi.read_forceready(channel, len(atoms))
        results: Results = {
            "energy": answer.energy,
            "free_energy": answer.energy,
            "forces": answer.forces,
        }
        if atoms.cell.rank == 3:
            stress = -answer.virial / atoms.get_volume()
            results["stress"] = full_3x3_to_voigt_6_stress(stress)
        return finite(results, 0)

    def _status(self) -> bytes:
        self.channel.send(ipi.STATUS)
        return bytes(self.channel.receive(ipi.WORD))


class ExtendedSession:
    """A rootstock worker."""

    def __init__(self, channel: Channel, *, shared_memory: bool) -> None:
        self.channel = channel
        channel.send(extension.pack_frame(extension.HELLO))
        frame = extension.unpack_frame(channel.receive(extension.FRAME))
        if frame.word != extension.HELLO:
            raise ProtocolError(f"the worker greets with {frame.word!r}")
        self.about: dict[str, Any] = extension.parse_object(channel.receive(frame.text))
        self.implemented = [str(name) for name in self.about["implemented"]]
        self.shared_memory = shared_memory
        self._out = Lane()
        self._arena: Arena | None = None
        self._views: list[tuple[Array, Array]] = []
        self._views_of: tuple[int, tuple[int, ...]] | None = None
        self._sent: tuple[Any, ...] | None = None
        self._schemas: list[Any] = []
        self._answer_views: list[ResultViews | ModelError] = []
        self._answers_of: int | None = None
        self._raw = bytearray(extension.FRAME)

    def calculate(
        self, structures: Sequence[Atoms], extra: Sequence[str], known: Known = None
    ) -> list[Outcome]:
        """See `Session`."""
        counts = tuple([len(atoms.arrays["numbers"]) for atoms in structures])
        state = (
            [kept(atoms) for atoms in structures] if known is None else list(known),
            list(extra),
        )
        text = b""
        stays: list[bytes] = []
        moving = moving_size(counts)
        size = moving
        if state != self._sent:
            told, stays = describe(structures)
            text = json.dumps({"structures": told, "properties": list(extra)}).encode()
            size += sum(map(len, stays))
            self._sent = None  # until the worker has it
        self._room(size + len(text), sum(counts), len(structures))
        out = self._out
        if self._views_of != (out.generation, counts):
            self._views = moving_views(out.buffer, counts)
            self._views_of = (out.generation, counts)
        for (positions, cell), atoms in zip(self._views, structures, strict=True):
            positions[...] = atoms.arrays["positions"]
            cell[...] = atoms.cell.array
        if text:
            offset = moving
            for part in (*stays, text):
                out.buffer[offset : offset + len(part)] = part
                offset += len(part)
        self.channel.send(
            extension.pack_frame(
                extension.CALC,
                flags=extension.IN_ARENA if out.shared else 0,
                count=len(structures),
                text=len(text),
                data=size,
            )
        )
        if not out.shared:
            self.channel.send(out.buffer[: size + len(text)])
        outcomes = self._answers(len(structures))
        self._sent = state
        return outcomes

    def close(self) -> None:
        """See `Session`."""
        with contextlib.suppress(OSError):
            self.channel.deadline = time.monotonic() + 1.0
            self.channel.send(extension.pack_frame(extension.QUIT))
        self.channel.close()

    def _room(self, size: int, atoms: int, structures: int) -> None:
        """Make room for a request, and in shared memory for its reply."""
        replies = _REPLY_PER_ATOM * atoms + 2048 * structures
        if self.shared_memory:
            arena = self._arena
            if arena is None or len(arena.requests) < size or len(arena.replies) < replies:
                self._share(rounded(size), rounded(replies + _REPLY_SPARE))
        if not self._out.shared:
            self._out.demand(size)

    def _share(self, requests: int, replies: int) -> None:
        """Give the worker a new memory; where there is none, the socket carries everything."""
        try:
            descriptor = anonymous_file(requests + replies)
        except OSError:
            self.shared_memory = False
            if self._out.shared:  # the old one is too small
                self._out.use(Lane().buffer, shared=False)
            return
        try:
            self._arena = Arena(descriptor, requests, replies)
            told = {"requests": requests, "replies": replies}
            extension.send_object(self.channel, extension.ARENA, told)
            socket.send_fds(self.channel.socket, [b"m"], [descriptor])
        finally:
            os.close(descriptor)
        self._out.use(self._arena.requests, shared=True)

    def _answers(self, count: int) -> list[Outcome]:
        self.channel.receive_into(self._raw)
        frame = extension.unpack_frame(self._raw)
        if frame.word != extension.DONE or frame.structures != count:
            raise ProtocolError(
                f"the worker sent {frame.word!r} for {frame.structures} structures where "
                f"RS-DONE for {count} was due"
            )
        length = frame.data + frame.text
        if frame.flags & extension.IN_ARENA:
            if self._arena is None or len(self._arena.replies) < length:
                raise ProtocolError("a reply does not fit into the shared memory")
            data = self._arena.replies[:length]
        else:
            data = memoryview(self.channel.receive(length))
        if frame.text:
            self._schemas = extension.parse_object(data[frame.data :])
            self._answers_of = None
        if len(self._schemas) != count:
            raise ProtocolError(f"{len(self._schemas)} results came for {count} structures")
        where = self._out.generation if frame.flags & extension.IN_ARENA else -1
        if where < 0 or self._answers_of != where:
            self._answer_views = _answer_views(self._schemas, data[: frame.data])
            self._answers_of = where
        outcomes: list[Outcome] = []
        for index, views in enumerate(self._answer_views):
            if isinstance(views, ModelError):
                outcomes.append(_model_error(self._schemas[index]["error"], index))
                continue
            results = views.copy()
            if "free_energy" not in results:
                results["free_energy"] = results.get("energy")
            # one addition over all is quicker than a look at each, and finds every NaN
            if views.numbers is not None and math.isfinite(np.add.reduce(views.numbers)):
                outcomes.append(results)
            else:
                outcomes.append(finite(results, index))
        return outcomes


def _answer_views(schemas: Sequence[Any], data: memoryview) -> list[ResultViews | ModelError]:
    """Return where the results of each structure lie, or what the model raised for it."""
    found: list[ResultViews | ModelError] = []
    offset = 0
    for index, schema in enumerate(schemas):
        if isinstance(schema, dict):
            found.append(_model_error(schema["error"], index))
        else:
            views, offset = result_views(schema, data, offset)
            found.append(views)
    return found


def finite(results: Results, index: int) -> Outcome:
    """Return the results, or a NotFiniteError naming what in them is NaN or infinite."""
    for name in ("energy", "forces", "stress"):
        value = results.get(name)
        if value is None:
            continue
        wrong = ~np.isfinite(np.asarray(value))
        if not wrong.any():
            continue
        where = f" (first for atom {int(np.argwhere(wrong)[0][0])})" if name == "forces" else ""
        return NotFiniteError(
            f"the model answered {name} that is not a finite number{where}",
            kind="NotFinite",
            index=index,
        )
    return results


def _model_error(told: dict[str, Any], index: int) -> ModelError:
    error = ModelError(
        f"the model raised {told['kind']}: {told['message']}",
        kind=str(told["kind"]),
        remote=str(told["traceback"]),
        index=index,
    )
    if told.get("not_implemented"):
        error.__cause__ = PropertyNotImplementedError(str(told["message"]))
    return error
