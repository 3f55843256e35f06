"""Any environment file's model, with the time that the model itself takes written down.

options: `source`, the environment file; `log`, a file that gets one line of seconds a call.
"""

import importlib.util
import time
from typing import Any


def setup(model: str, device: str, *, source: str, log: str, **kwargs: Any) -> Any:
    """Return the calculator, whose `calculate` is timed."""
    spec = importlib.util.spec_from_file_location("timed_source", source)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    calculator = module.setup(model, device, **kwargs)
    own = calculator.calculate
    file = open(log, "a", buffering=1)  # noqa: PTH123, SIM115 - open as long as the process

    def timed(*args: Any, **named: Any) -> None:
        start = time.perf_counter()
        own(*args, **named)
        file.write(f"{time.perf_counter() - start!r}\n")

    calculator.calculate = timed
    return calculator
