"""Adaptive kinetic Monte Carlo: the slow moves of atoms, found while the clock runs."""
