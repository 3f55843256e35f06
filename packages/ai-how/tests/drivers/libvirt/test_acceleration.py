"""KVM is believed only where a guest kernel was seen to boot by it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from ai_how.drivers.libvirt import acceleration


@pytest.fixture
def device(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A /dev/kvm that opens, and a boot with a number of its own."""
    monkeypatch.setenv("AI_HOW_CACHE", str(tmp_path / "cache"))
    for name in ("kvm", "boot_id"):
        (tmp_path / name).write_text(name)
        monkeypatch.setattr(acceleration, f"_{name.upper()}", tmp_path / name)
    return tmp_path / "kvm"


def test_without_a_device_nothing_has_to_be_tried(device: Path) -> None:
    device.unlink()
    known = acceleration.known_acceleration()
    assert known is not None
    assert (known.kind, known.why) == ("qemu", f"this machine has no {device}")
    assert acceleration.why_emulated() == known.why


def test_a_verdict_holds_until_the_machine_boots_again(
    device: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert acceleration.known_acceleration() is None
    assert acceleration.why_emulated() == ""
    tried = []

    def hangs(kernel: Path, kind: str) -> str:
        tried.append(kind)
        return "no guest kernel boots within 15 s"

    monkeypatch.setattr(acceleration, "try_kernel", hangs)
    for _ in range(2):
        found = acceleration.acceleration(Path("/none"))
        assert (found.kind, found.why) == ("qemu", "no guest kernel boots within 15 s")
    assert tried == ["kvm"]
    (device.parent / "boot_id").write_text("another")
    monkeypatch.setattr(acceleration, "try_kernel", lambda *_: "")
    assert acceleration.acceleration(Path("/none")).kind == "kvm"
    assert acceleration.why_emulated() == ""


def test_a_damaged_verdict_is_none(device: Path) -> None:
    record = device.parent / "cache" / "images" / ".acceleration.json"
    record.parent.mkdir(parents=True)
    for text in ("{", json.dumps({"kind": "kvm"}), "[]"):
        record.write_text(text)
        assert acceleration.known_acceleration() is None


@pytest.mark.real
def test_what_is_no_kernel_does_not_boot(tmp_path: Path) -> None:
    if shutil.which(acceleration.EMULATOR) is None:
        pytest.skip(f"{acceleration.EMULATOR} is not installed here")
    none = tmp_path / "vmlinuz"
    none.write_bytes(b"\0" * 4096)
    assert acceleration.try_kernel(none, "tcg", limit_s=3) != ""
