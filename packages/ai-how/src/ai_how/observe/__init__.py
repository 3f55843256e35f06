"""A cluster seen: figures of SLURM, for Prometheus and for a page in a browser."""
