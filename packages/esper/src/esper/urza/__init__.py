"""Urza, the library: blueprints, the kernels made of them, what grew where, and work to be done."""

from esper.urza.library import Library, LibraryError

__all__ = ["Library", "LibraryError"]
