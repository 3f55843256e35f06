"""Labelled data: looked at, checked, exported, imported."""
