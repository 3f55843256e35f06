"""Fits held against published numbers and against the libraries they are built on."""
