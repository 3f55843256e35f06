"""Tezzeret, the forge: from a blueprint written down to a kernel that was checked and measured."""
