"""What can be wrong with a root or with what is asked of it; messages say what and the remedy."""

from __future__ import annotations

from rootstock.errors import RootstockError


class RootError(RootstockError):
    """A root that is not there or is broken, or a request that it cannot serve."""


class UnknownModelError(RootError):
    """No environment serves a model of that name, or it is not built yet."""


class SourceError(RootError):
    """An environment file that is refused; the message names the file and what is wrong."""


class BuildError(RootError):
    """A build that failed; what was built before is left as it was."""
