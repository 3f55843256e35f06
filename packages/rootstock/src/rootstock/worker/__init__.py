"""The process that runs a model: the standard library, numpy, ase and the model, nothing else."""
