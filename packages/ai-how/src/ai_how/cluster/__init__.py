"""Clusters that were made: their state on disk, and their life cycle."""
