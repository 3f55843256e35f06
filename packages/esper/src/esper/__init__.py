"""Esper: networks that grow their own architecture while they train."""

__version__ = "0.1.0"
