"""Roots: where environments, weights and caches lie."""
