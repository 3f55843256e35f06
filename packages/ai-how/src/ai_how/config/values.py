"""Single values of a cluster file: what each may be, and what is told where it is not."""

from __future__ import annotations

import ipaddress
import re
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema

_NAME = re.compile(r"[a-z](?:[a-z0-9-]*[a-z0-9])?")
_PCI = re.compile(r"(?:[0-9a-f]{4}:)?[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]", re.IGNORECASE)
_PACKAGE = re.compile(r"[a-z0-9][a-z0-9+.-]+")
_TIME = re.compile(r"UNLIMITED|\d+|\d+:\d\d(:\d\d)?|\d+-\d\d(:\d\d){0,2}")


def _name(value: str) -> str:
    if not _NAME.fullmatch(value):
        raise ValueError(
            f"{value!r} is no name; use small letters, digits and '-', a letter first (node-1)"
        )
    return value


def _gpu_type(value: str) -> str:
    if not re.fullmatch(r"[a-z0-9][a-z0-9._+-]*", value):
        raise ValueError(f"{value!r} is no type; small letters, digits, '.', '_' (a100_1g.5gb)")
    return value


def _address(value: str) -> str:
    try:
        return str(ipaddress.IPv4Address(value))
    except ValueError:
        raise ValueError(f"{value!r} is no IPv4 address; write it like 10.77.0.11") from None


def _subnet(value: str) -> str:
    try:
        network = ipaddress.IPv4Network(value, strict=False)
    except ValueError:
        raise ValueError(f"{value!r} is no IPv4 subnet; write it like 10.77.0.0/24") from None
    if str(network) != value:
        raise ValueError(f"{value!r} has bits set outside its mask; you mean {network}")
    if network.prefixlen > 29:
        raise ValueError(f"{value!r} has no room for a cluster; use a /24, such as 10.77.0.0/24")
    return value


def _bridge(value: str) -> str:
    if not re.fullmatch(r"[a-zA-Z][a-zA-Z0-9_.-]{0,14}", value):
        raise ValueError(f"{value!r} is no interface name; at most 15 letters, digits, '-', '_'")
    return value


def _pci(value: str) -> str:
    if not _PCI.fullmatch(value):
        raise ValueError(f"{value!r} is no PCI address; `lspci -D` prints them: 0000:01:00.0")
    return value.lower() if value.count(":") == 2 else f"0000:{value.lower()}"


def _time(value: str) -> str:
    if not _TIME.fullmatch(value):
        raise ValueError(f"{value!r} is no time limit; write minutes, 1:30:00, 2-00 or UNLIMITED")
    return value


def _absolute(value: str) -> str:
    if not value.startswith("/") or any(part == ".." for part in value.split("/")):
        raise ValueError(f"{value!r} must be an absolute path without '..'")
    if not re.fullmatch(r"[\w./+-]+", value):
        raise ValueError(f"{value!r} holds a blank or a special character; choose another folder")
    return value


def _package(value: str) -> str:
    if not _PACKAGE.fullmatch(value):
        raise ValueError(f"{value!r} is no package's name; `apt-cache search` finds them")
    return value


def _variable(value: str) -> str:
    if not re.fullmatch(r"[a-z][a-z0-9_]*", value):
        raise ValueError(f"{value!r} is no variable's name; small letters, digits, '_'")
    return value


def as_list(value: Any) -> Any:
    """Take one group for the list of one that it means."""
    return [value] if isinstance(value, dict) else value


def _as_text(value: Any) -> Any:
    """Take a bare number of minutes for the text it means."""
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


Name = Annotated[
    str,
    AfterValidator(_name),
    Field(max_length=40, json_schema_extra={"pattern": f"^{_NAME.pattern}$"}),
]
GpuType = Annotated[str, AfterValidator(_gpu_type), Field(max_length=40)]
Address = Annotated[str, AfterValidator(_address), Field(json_schema_extra={"format": "ipv4"})]
Subnet = Annotated[str, AfterValidator(_subnet)]
Bridge = Annotated[str, AfterValidator(_bridge)]
PackageName = Annotated[str, AfterValidator(_package), Field(max_length=80)]
VariableName = Annotated[str, AfterValidator(_variable), Field(max_length=80)]
PciAddress = Annotated[str, AfterValidator(_pci)]
TimeLimit = Annotated[
    str,
    BeforeValidator(_as_text),
    AfterValidator(_time),
    WithJsonSchema({"type": ["string", "integer"]}),
]
AbsolutePath = Annotated[str, AfterValidator(_absolute)]
