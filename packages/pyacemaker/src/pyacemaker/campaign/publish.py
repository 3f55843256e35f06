"""A certified potential becomes a model of a rootstock root, used from any ASE script."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pyacemaker.campaign.layout import CERTIFICATE, POTENTIAL, REPORT
from pyacemaker.files import sha256_of
from pyacemaker.potential import Potential, PotentialError

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")

Say = Callable[[str], None]


class PublishError(RuntimeError):
    """A potential that is not published; the message says why and what would help."""


@dataclass(frozen=True)
class Published:
    """The model's name and the root it is in."""

    model: str
    root: Path


def publish(
    workdir: Path, root: Path, say: Say, *, name: str | None = None, replace: bool = False
) -> Published:
    """Install the certified potential of `workdir` into the rootstock root `root`.

    It becomes the model ``ace-<name>``, or ``esper-<name>`` for networks (by default the work
    directory's name), is tested in the environment that will serve it, which is built first where
    it is missing, and carries the verdict of its report in the root's manifest.

    Raises
    ------
    PublishError
        If there is no potential, it is not certified, a gate of its certificate failed, the
        name is no name or is taken, or the root refuses it.
    """
    from rootstock.build.build import BuildOptions, build
    from rootstock.build.register import register
    from rootstock.root.errors import RootError
    from rootstock.root.layout import open_root

    directory = workdir / POTENTIAL
    certificate = certified(directory)
    try:
        potential = Potential.load(directory)
    except PotentialError as error:
        raise PublishError(f"not published: {error}") from error
    chosen = name or workdir.resolve().name
    if not _NAME.fullmatch(chosen):
        raise PublishError(
            f"{chosen!r} is no name for a model: letters, digits, dots, hyphens and underscores, "
            "beginning with a letter or digit; give one with --name"
        )
    environment = potential.manifest.form
    model = f"{environment}-{chosen}"
    facts = verdict(certificate, workdir / REPORT)
    try:
        layout = open_root(root)
        if layout.current(f"{environment}_env") is None:
            build(layout, environment, BuildOptions(models=()), say)
        register(
            layout,
            model,
            directory,
            say,
            elements=potential.elements,
            facts=facts,
            replace=replace,
        )
    except RootError as error:
        raise PublishError(f"not published: {error}") from error
    return Published(model, layout.folder)


def certified(directory: Path) -> dict[str, Any]:
    """Return the certificate of the potential in `directory`.

    Raises PublishError where there is none, or where it says that the potential failed.
    """
    path = directory / CERTIFICATE
    try:
        certificate = json.loads(path.read_text())
        checks = {str(check["name"]): bool(check["passed"]) for check in certificate["checks"]}
        is_certified, reason = certificate["certified"] is True, str(certificate["reason"])
    except FileNotFoundError:
        raise PublishError(
            f"{directory} holds no potential with a certificate: let `pyacemaker run` end, and "
            "name its work directory"
        ) from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise PublishError(f"{path} is damaged ({error!r}); run the campaign again") from error
    failed = [check for check, passed in checks.items() if not passed]
    if failed:
        raise PublishError(
            f"not published: the potential failed its gates ({', '.join(failed)}): {reason}"
        )
    if not is_certified or not checks:
        raise PublishError(
            f"not published: the potential is not certified ({reason}); let the campaign go on "
            "with a larger budget"
        )
    return dict(certificate)


def verdict(certificate: Mapping[str, Any], report: Path) -> dict[str, Any]:
    """Return what the root's manifest keeps of a certificate: plain JSON values."""
    facts: dict[str, Any] = {
        "made_by": "pyacemaker",
        "certified": certificate["certified"],
        "verdict": certificate["reason"],
        "iteration": certificate["iteration"],
        "checks": [
            {key: check[key] for key in ("name", "passed", "reason")}
            for check in certificate["checks"]
        ],
    }
    if report.is_file():
        facts["report_sha256"] = sha256_of(report)
    return facts
