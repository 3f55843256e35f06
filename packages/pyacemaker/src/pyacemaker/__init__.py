"""PYACEMAKER: from a list of elements to a certified interatomic potential."""

__version__ = "0.1.0"
