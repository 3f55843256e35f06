"""Structures worth labelling, made without a model or round a halt."""
