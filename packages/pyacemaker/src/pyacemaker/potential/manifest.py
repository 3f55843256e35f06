"""`potential.json`: what a potential is made of, with a checksum for every file and for itself."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

if TYPE_CHECKING:
    from pyacemaker.trainer.baseline import ZblBaseline


MANIFEST = "potential.json"
BASIS = "potential.yaml"
ACTIVE_SET = "potential.asi"
PRODUCT_FORM = "potential.yace"
SNIPPET = "in.potential.lmp"
FILES = (BASIS, ACTIVE_SET, PRODUCT_FORM, SNIPPET)
POSTERIOR = "posterior.npz"  # of linear fits of this program; nothing but `forces_std` needs it
NETWORK, WEIGHTS = "network.json", "network.safetensors"
FILES_OF = {"ace": FILES, "esper": (NETWORK, WEIGHTS)}


class PotentialError(RuntimeError):
    """A potential that is broken or cannot do what is asked; the message names what and why."""


class Manifest(BaseModel):
    """The contents of `potential.json`. Energies in eV, lengths in angstrom."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal["pyacemaker-potential"] = "pyacemaker-potential"
    format_version: Literal[1] = 1
    form: Literal["ace", "esper"] = "ace"
    elements: tuple[str, ...] = Field(min_length=1)
    cutoff_A: float = Field(gt=0.0)
    reference_energies_eV: dict[str, float]
    baseline: dict[str, Any]
    fit: dict[str, Any]
    files: dict[str, str]
    made_with: dict[str, str]

    def zbl(self) -> ZblBaseline:
        """Return the baseline this potential was fitted against."""
        from pyacemaker.trainer.baseline import ZblBaseline

        return ZblBaseline.from_json(self.baseline)

    def to_text(self) -> str:
        """Return the file's text: the fields and a checksum over them."""
        fields = self.model_dump(mode="json")
        return json.dumps(fields | {"checksum": _checksum(fields)}, indent=2) + "\n"

    @classmethod
    def read(cls, path: Path) -> Manifest:
        """Read and verify. Raises PotentialError naming `path` and what is wrong with it."""
        try:
            fields = json.loads(path.read_text(encoding="utf-8"))
            stated = fields.pop("checksum")
            if stated != _checksum(fields):
                raise PotentialError(f"{path}: its content does not match its own checksum")
            return cls.model_validate(fields)
        except FileNotFoundError:
            raise PotentialError(
                f"{path} is missing: not a potential, or not a whole one"
            ) from None
        except NotADirectoryError:
            raise PotentialError(f"{path.parent} is a file; name the potential's folder") from None
        except OSError as error:
            raise PotentialError(f"{path} cannot be read: {error.strerror}") from None
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, first["loc"]))
            raise PotentialError(f"{path}: {where}: {first['msg']}") from None
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise PotentialError(f"{path} is not a potential's manifest ({error!r})") from None


def _checksum(fields: dict[str, Any]) -> str:
    canonical = json.dumps(fields, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()
