"""Run a model as a client of a socket server.

python -m rootstock.worker --socket PATH --source FILE --model ARG --device cpu

With --unixsocket NAME (for /tmp/ipi_NAME) or --host and --port it is driven by ASE's
SocketIOCalculator or by i-PI, which tell no species: name a --template then.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

# Exit statuses that the server tells apart.
SETUP_FAILED = 3
NO_SERVER = 4


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the worker; return its exit status."""
    options = _parser().parse_args(arguments)
    if options.lifeline is not None:
        from rootstock.worker.lifeline import hold

        hold(options.lifeline, options.parent)
    return _serve(options)


def _serve(options: argparse.Namespace) -> int:
    # only now the slow imports: the lifeline holds already
    import json
    from pathlib import Path

    try:
        from rootstock.worker.model import Model
        from rootstock.worker.source import make_calculator

        template = None
        if options.template is not None:
            from ase.io import read

            template = read(options.template)
        calculator = make_calculator(
            Path(options.source), options.model, options.device, json.loads(options.options)
        )
        model = Model(calculator)
    except BaseException:  # whatever a model's setup raises
        import traceback

        traceback.print_exc()
        return SETUP_FAILED

    from rootstock.protocol.channel import ChannelClosedError, connect
    from rootstock.server.credentials import same_user
    from rootstock.worker.loop import ClientLoop

    path = f"/tmp/ipi_{options.unixsocket}" if options.unixsocket else options.socket  # noqa: S108
    try:
        channel = connect(
            path=path, host=options.host, port=options.port, patience_s=options.connect_timeout
        )
    except OSError as error:
        where = path or f"{options.host}:{options.port}"
        print(f"rootstock worker: no server at {where}: {error}", file=sys.stderr)
        return NO_SERVER
    if not same_user(channel.socket):
        print("rootstock worker: the server belongs to another user", file=sys.stderr)
        return NO_SERVER
    try:
        ClientLoop(channel, model, template).run()
    except ChannelClosedError:
        return 0
    finally:
        channel.close()
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m rootstock.worker", description=__doc__)
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument("--socket", help="path of the server's Unix socket")
    where.add_argument("--unixsocket", help="name of a socket as ASE and i-PI know it")
    where.add_argument("--port", type=int, default=0, help="port of a server on --host")
    parser.add_argument("--host", default="localhost")
    parser.add_argument("--source", required=True, help="file with setup(model, device, **kwargs)")
    parser.add_argument("--model", default="", help="what setup gets as its model")
    parser.add_argument("--device", default="cpu", help="what setup gets as its device")
    parser.add_argument("--options", default="{}", help="further arguments of setup, as JSON")
    parser.add_argument("--template", help="structure file with the species (for i-PI and ASE)")
    parser.add_argument(
        "--connect-timeout", type=float, default=0.0, help="seconds to wait for the server"
    )
    parser.add_argument("--lifeline", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--parent", type=int, help=argparse.SUPPRESS)
    return parser


if __name__ == "__main__":
    status = main()
    sys.stdout.flush()
    sys.stderr.flush()
    # there is nothing to save, and some libraries crash when the interpreter is taken down
    os._exit(status)
