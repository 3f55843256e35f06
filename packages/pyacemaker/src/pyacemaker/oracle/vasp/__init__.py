"""VASP as an oracle."""
