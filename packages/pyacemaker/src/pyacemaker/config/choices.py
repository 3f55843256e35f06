"""Each value taken from the user or from its rule, and where it came from written down."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ValidationError

from pyacemaker.config.load import ConfigError, unit_of
from pyacemaker.config.models import Config, Origin, Section
from pyacemaker.config.physics import Constant, Ruled
from pyacemaker.config.yaml_lines import KeyPath, Problem

M = TypeVar("M", bound=BaseModel)

Kind = Literal["user", "physics", "default"]

_UNITS = {
    "budget.labels": "labels",
    "budget.hours": "h",
    "budget.initial_labels": "labels",
    "budget.labels_per_iteration": "labels",
    "budget.max_atoms": "atoms",
    "dynamics.atoms": "atoms",
    "dynamics.check_every": "MD steps",
    "kmc.events": "hops",
    "kmc.max_searches": "searches",
    "kmc.max_steps": "steps",
    "workers": "processes",
}


@dataclass(frozen=True)
class Entry:
    """One resolved value and why it is what it is.

    `kind` is `user`, `physics` (a rule about the elements) or `default` (a constant);
    `source` says it for people: the file and line, or the kind. `unit` may be empty.
    """

    key: str
    value: Any
    unit: str
    kind: Kind
    source: str
    explanation: str


class Choices:
    """Takes each value from the user or from its rule, and writes down which."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.origin = config.origin or Origin("")
        self.entries: list[Entry] = []

    def refuse(self, path: KeyPath, message: str) -> ConfigError:
        """Return the error for a value at `path`, with its file and line."""
        key = ".".join(map(str, path))
        line = self.origin.line_of(path)
        return ConfigError(self.origin.file or "configuration", [Problem(line, key, message)])

    def note(self, path: KeyPath, value: Any, kind: Kind, why: str) -> None:
        """Add the entry of one value."""
        key = ".".join(map(str, path))
        source: str = kind
        if kind == "user":
            line = self.origin.line_of(path)
            source = f"{self.origin.file}:{line}" if line else "given"
        unit = _UNITS.get(key) or unit_of(key)
        self.entries.append(Entry(key, value, unit, kind, source, why))

    def take(self, path: KeyPath, given: Any, rule: Ruled[Any], why_user: str) -> Any:
        """Return `given`, or the rule's value if it is None."""
        if given is not None:
            self.note(path, given, "user", why_user)
            return given
        self.note(path, rule.value, "physics", rule.why)
        return rule.value

    def fill(
        self,
        name: str,
        model: type[M],
        rules: Mapping[str, Ruled[Any]],
        fixed: Mapping[str, Any] | None = None,
        replaced: Mapping[str, Any] | None = None,
    ) -> M:
        """Make `model` from the user's section `name`, then `rules`, then its own defaults.

        `fixed` are values that have no key in this section, `replaced` what the user's values
        mean (an absolute path for a relative one).
        """
        section: Section = getattr(self.config, name)
        values: dict[str, Any] = dict(fixed or {})
        for key, field in model.model_fields.items():
            if key in values:
                continue
            words = _sentence(field.description)
            given = getattr(section, key)
            if given is None and key in section.model_fields_set and _takes_none(field.annotation):
                self.note((name, key), None, "user", words)
                values[key] = None
            elif given is not None:
                self.note((name, key), given, "user", words)
                values[key] = given
            elif key in rules:
                rule = rules[key]
                kind: Kind = "default" if isinstance(rule, Constant) else "physics"
                self.note((name, key), rule.value, kind, rule.why)
                values[key] = rule.value
            else:
                value = field.get_default(call_default_factory=True)
                self.note((name, key), value, "default", words)
        return self.build(name, model, {**values, **(replaced or {})})

    def build(self, name: str, model: type[M], values: Mapping[str, Any]) -> M:
        """Return `model(**values)`; what it refuses is reported at the user's line."""
        try:
            return model(**values)
        except ValidationError as error:
            problems: list[Problem] = []
            for item in error.errors(include_url=False):
                message = str(item["msg"]).removeprefix("Value error, ")
                path: KeyPath = (name, *item["loc"][:1])
                if not item["loc"]:  # values that do not go together: point at one of the user's
                    section: Section = getattr(self.config, name)
                    named = [key for key in section.model_fields_set if key in message]
                    path = (name, min(named, key=message.index)) if named else path
                problems += self.refuse(path, message).problems
            raise ConfigError(self.origin.file or "configuration", problems) from None


def _takes_none(annotation: Any) -> bool:
    return "None" in str(annotation)


def _sentence(text: str | None) -> str:
    return " ".join((text or "").split())
