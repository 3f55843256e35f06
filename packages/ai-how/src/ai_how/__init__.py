"""ai-how: from one YAML file to a running SLURM cluster on this machine."""

__version__ = "0.1.0"
