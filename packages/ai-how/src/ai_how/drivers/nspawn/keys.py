"""The keys of a cluster: munge, tokens, and ssh with one host key and one user key."""

from __future__ import annotations

import json
import secrets
import subprocess
from pathlib import Path

from ai_how.drivers.base import DriverError
from ai_how.drivers.munge import munge_key
from ai_how.drivers.nspawn.contents import Secrets
from ai_how.files import write_whole
from ai_how.plan.plan import Plan


def secrets_of(folder: Path) -> Secrets:
    """Return the keys of the cluster in `folder`; those that are not there are made."""
    keys = folder / "etc" / "keys"
    jwt = keys / "jwt.key"
    if not jwt.exists():
        write_whole(jwt, secrets.token_bytes(32))
        jwt.chmod(0o400)
    host, user = ssh_key(keys / "host_key"), ssh_key(private_key(folder))
    return Secrets(
        munge=munge_key(folder).read_bytes(),
        jwt=jwt.read_bytes(),
        host_private=host.read_bytes(),
        host_public=host.with_suffix(".pub").read_bytes(),
        authorized=user.with_suffix(".pub").read_bytes(),
    )


def private_key(folder: Path) -> Path:
    """Return the key that opens every node."""
    return folder / "etc" / "keys" / "id_ed25519"


def known_hosts(folder: Path, plan: Plan) -> str:
    """Return known_hosts(5): every node has the cluster's host key."""
    kind, key = (folder / "etc/keys/host_key.pub").read_text().split()[:2]
    nodes = [node for node in plan.nodes if node.cluster == "hpc"]
    return "".join(f"{node.name},{node.ip} {kind} {key}\n" for node in nodes)


def ssh_options(folder: Path) -> list[str]:
    """Return the options by which ssh trusts the cluster's host key and no other."""
    known = folder / "etc" / "known_hosts"
    words = ("StrictHostKeyChecking=yes", "IdentitiesOnly=yes", "ConnectTimeout=10")
    options = [part for word in words for part in ("-o", word)]
    return [*options, "-o", f"UserKnownHostsFile={known}", "-o", "GlobalKnownHostsFile=none"]


def address_of(folder: Path, node: str) -> str:
    """Return the address of a node that was made. Raises DriverError."""
    try:
        found: str = json.loads((folder / "etc" / "addresses.json").read_text())[node]
    except (OSError, ValueError, KeyError):
        raise DriverError(f"{node} was never made; `ai-how up` makes it") from None
    return found


def ssh_key(path: Path) -> Path:
    """Make a key pair if it is not there; the public half is written last, from the private."""
    public = path.with_suffix(".pub")
    if path.exists() and public.exists():
        return path
    path.unlink(missing_ok=True)
    public.unlink(missing_ok=True)
    new = path.with_name(f".{path.name}.new")
    for stale in (new, new.with_suffix(".new.pub"), new.with_name(f"{new.name}.pub")):
        stale.unlink(missing_ok=True)
    done = subprocess.run(
        ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "ai-how", "-f", str(new)],
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    if done.returncode:
        raise DriverError(f"ssh-keygen: {done.stderr.strip()}")
    new.replace(path)
    new.with_name(f"{new.name}.pub").replace(public)
    return path
