"""The worker's side of the extension: requests in frames, answered one by one."""

from __future__ import annotations

import json
import mmap
import os
import socket
import sys
from collections.abc import Sequence
from typing import Any

import ase
import numpy as np
from ase import Atoms
from ase.calculators.calculator import all_changes

from rootstock.errors import ProtocolError
from rootstock.protocol import extension
from rootstock.protocol.channel import Channel, ChannelClosedError
from rootstock.protocol.lane import Arena, Lane
from rootstock.protocol.structures import (
    Array,
    Schema,
    moving_size,
    moving_views,
    rebuild,
    schema_of,
)
from rootstock.worker.model import Failure, Model, Results


class ExtendedLoop:
    """Answers a rootstock server until it says goodbye or is gone."""

    def __init__(self, channel: Channel, model: Model) -> None:
        self._channel = channel
        self._model = model
        self._in = Lane()
        self._out = Lane()
        self._arena: Arena | None = None
        self._structures: list[Atoms] = []
        self._properties: list[str] = []
        self._fresh = True
        self._views: list[tuple[Array, Array]] = []
        self._views_of: tuple[bool, int, tuple[int, ...]] | None = None
        self._told: list[Any] | None = None
        self._targets: list[np.ndarray[Any, Any]] = []
        self._targets_of = -1

    def run(self) -> None:
        """Serve. Returns when the server says EXIT or closes the connection."""
        raw = bytearray(extension.FRAME)
        while True:
            try:
                self._channel.receive_into(raw)
                frame = extension.unpack_frame(raw)
                if frame.word == extension.CALC:
                    self._calculate(frame)
                elif frame.word == extension.HELLO:
                    extension.send_object(self._channel, extension.HELLO, self._introduction())
                elif frame.word == extension.ARENA:
                    self._attach(frame)
                elif frame.word == extension.QUIT:
                    return
                else:
                    raise ProtocolError(f"{frame.word!r} is no request")
            except ChannelClosedError:
                return

    def _introduction(self) -> dict[str, Any]:
        calculator = self._model.calculator
        return {
            "calculator": type(calculator).__name__,
            "implemented": self._model.implemented,
            "batches": self._model.can_batch,
            "pid": os.getpid(),
            "python": sys.version.split()[0],
            "numpy": np.__version__,
            "ase": ase.__version__,
        }

    def _attach(self, frame: extension.Frame) -> None:
        """Take the memory whose descriptor comes with one byte after the sizes."""
        sizes = extension.parse_object(self._channel.receive(frame.text))
        descriptors: list[int] = []
        while not descriptors:
            try:
                byte, descriptors, _, _ = socket.recv_fds(self._channel.socket, 1, 1)
            except BlockingIOError:  # the channel's slice is over
                continue
            if not descriptors:
                raise ChannelClosedError if not byte else ProtocolError("RS-ARENA without memory")
        try:
            self._arena = Arena(descriptors[0], int(sizes["requests"]), int(sizes["replies"]))
        finally:
            os.close(descriptors[0])
        self._in.use(self._arena.requests, shared=True)
        self._out.use(self._arena.replies, shared=True)

    def _calculate(self, frame: extension.Frame) -> None:
        text, views, stays = self._request(frame)
        if text:
            told = extension.parse_object(text)
            self._structures = rebuild(told["structures"], stays)
            self._properties = [str(name) for name in told["properties"]]
            self._fresh = True
        if len(self._structures) == 1:
            outcomes: Sequence[Results | Failure] = [self._one(*views[0])]
        else:
            for atoms, (positions, cell) in zip(self._structures, views, strict=True):
                atoms.arrays["positions"][...] = positions
                atoms.cell.array[...] = cell
            outcomes = self._model.evaluate_many(self._structures, self._properties)
        self._answer(outcomes)

    def _one(self, positions: Array, cell: Array) -> Results | Failure:
        atoms = self._structures[0]
        changes: Sequence[str] = ("positions",)
        if self._fresh:
            changes = all_changes
        elif (atoms.cell.array != cell).any():
            changes = ("positions", "cell")
        atoms.arrays["positions"][...] = positions
        atoms.cell.array[...] = cell
        self._fresh = True
        try:
            results = self._model.evaluate(atoms, self._properties, changes)
        except Exception as error:  # any model may raise anything
            return Failure(error)
        self._fresh = False
        return results

    def _request(
        self, frame: extension.Frame
    ) -> tuple[bytes, list[tuple[Array, Array]], memoryview]:
        """Return the text, views of what moves, and what stays."""
        shared = bool(frame.flags & extension.IN_ARENA)
        if shared:
            if self._arena is None:
                raise ProtocolError("a request lies in shared memory that was not given")
            buffer, generation = self._arena.requests, self._in.generation
        else:
            if self._in.shared:
                self._in.use(memoryview(bytearray(mmap.PAGESIZE)), shared=False)
            self._in.demand(frame.text + frame.data)
            buffer, generation = self._in.buffer, self._in.generation
            if frame.text + frame.data:
                self._channel.receive_into(buffer[: frame.text + frame.data])
        if frame.text + frame.data > len(buffer):
            raise ProtocolError("a request is larger than the shared memory")
        # data first, so that the positions' place does not depend on the text
        text = bytes(buffer[frame.data : frame.data + frame.text])
        if text:
            told = extension.parse_object(text)
            counts = tuple(int(one["count"]) for one in told["structures"])
        else:
            counts = tuple(len(atoms) for atoms in self._structures)
        moving = moving_size(counts)
        if len(counts) != frame.structures or not counts or moving > frame.data:
            raise ProtocolError(f"{frame.structures} structures do not fit the request")
        if self._views_of != (shared, generation, counts):
            self._views = moving_views(buffer, counts)
            self._views_of = (shared, generation, counts)
        return text, self._views, buffer[moving : frame.data]

    def _answer(self, outcomes: Sequence[Results | Failure]) -> None:
        if len(outcomes) == 1 and self._targets_of == self._out.generation:
            frame = _refill(self._told, self._targets, outcomes[0])
            if frame is not None:
                self._channel.send(frame)
                return
        told: list[Any] = []
        arrays: list[np.ndarray[Any, Any]] = []
        for outcome in outcomes:
            if isinstance(outcome, Failure):
                told.append({"error": outcome.told})
            else:
                schema: Schema
                schema, values = schema_of(outcome)
                told.append(schema)
                arrays += values
        known = told == self._told
        text = b"" if known else json.dumps(told).encode()
        self._told = told
        size = sum(array.nbytes for array in arrays)
        total = size + len(text)
        shared = self._out.shared and total <= len(self._out.buffer)
        buffer = self._out.buffer if shared else memoryview(bytearray(total))
        where = self._out.generation if shared else -1
        if not known or where < 0 or self._targets_of != where:
            self._targets = _targets(arrays, buffer)
            self._targets_of = where
        for array, target in zip(arrays, self._targets, strict=True):
            target[...] = array
        buffer[size : size + len(text)] = text
        frame = extension.pack_frame(
            extension.DONE,
            flags=extension.IN_ARENA if shared else 0,
            count=len(outcomes),
            text=len(text),
            data=size,
        )
        if shared:
            self._channel.send(frame)
        else:
            self._channel.send(frame + buffer)


def _refill(
    told: list[Any] | None, targets: list[np.ndarray[Any, Any]], results: Results | Failure
) -> bytes | None:
    """Write results that are like the last ones where those were; None if they are not alike."""
    if isinstance(results, Failure) or told is None or isinstance(told[0], dict):
        return None
    if len(results) != len(targets):
        return None
    size = 0
    for (name, dtype, _), target in zip(told[0], targets, strict=True):
        value = results.get(name)
        if type(value) is float:
            if dtype != "<f8" or target.shape:
                return None
        elif (
            not isinstance(value, np.ndarray)
            or value.dtype != target.dtype
            or value.shape != target.shape
        ):
            return None
        target[...] = value
        size += target.nbytes
    return extension.pack_frame(
        extension.DONE, flags=extension.IN_ARENA, count=1, text=0, data=size
    )


def _targets(
    arrays: Sequence[np.ndarray[Any, Any]], buffer: memoryview
) -> list[np.ndarray[Any, Any]]:
    """Return views of a buffer that take `arrays` one behind the other."""
    targets = []
    offset = 0
    for array in arrays:
        end = offset + array.nbytes
        if array.nbytes:
            targets.append(np.frombuffer(buffer[offset:end], array.dtype).reshape(array.shape))
        else:
            targets.append(np.empty_like(array))
        offset = end
    return targets
