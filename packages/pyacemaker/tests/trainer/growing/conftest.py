"""Networks need torch and esper: `pip install pyacemaker[esper]`."""

from __future__ import annotations

import pytest

pytest.importorskip("torch")
