"""SLURM: its configuration files, and its commands spoken to."""
