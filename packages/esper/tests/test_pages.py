"""The Python and the configurations that docs/esper*.md show run and are taken."""

from __future__ import annotations

import re
from pathlib import Path

import torch
from torch import nn

from esper.config import load_config

ROOT = Path(__file__).parents[3]


def test_the_model_of_your_own_grows_as_the_page_says() -> None:
    blocks = re.findall(r"(?s)```python\n(.*?)```", (ROOT / "docs" / "esper.md").read_text())
    wrapping, growing = blocks[:2]
    torch.manual_seed(0)
    host = nn.ModuleDict({"encoder": nn.ModuleDict({"fc1": nn.Linear(8, 8)})})
    host["head"] = nn.Linear(8, 2)

    class Host(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.encoder = host["encoder"]
            self.head = host["head"]

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.head(torch.relu(self.encoder["fc1"](x)))

    made = Host()
    known = {
        "host": made,
        "batches": [(torch.randn(16, 8), torch.randint(2, (16,))) for _ in range(3)],
        "loss_fn": nn.functional.cross_entropy,
    }
    code = wrapping.replace("model = esper.wrap(host)  #", "esper.wrap(host)  #")
    exec(code, known)
    known["optimizer"] = torch.optim.Adam(made.parameters())
    exec(growing, known)
    x = torch.randn(4, 8)
    assert torch.allclose(known["plain"](x), known["model"](x))
    assert sum(p.numel() for p in known["plain"].parameters()) > 8 * 9 + 9 * 2


def test_configurations_of_the_pages_are_taken(tmp_path: Path) -> None:
    found = 0
    for page in sorted((ROOT / "docs").glob("esper*.md")):
        for block in re.findall(r"(?s)```yml\n(.*?)```", page.read_text()):
            text = block
            if "data:" not in block:
                text = "data: {source: digits}\nnetwork: {kind: mlp, widths: [8]}\n" + block
            path = tmp_path / "shown.yaml"
            path.write_text(text)
            assert load_config(path).training.epochs > 0
            found += 1
    assert found >= 2
