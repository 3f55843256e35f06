"""Tolaria, the training: a loop, its checkpoints, and the governor that rolls it back."""
