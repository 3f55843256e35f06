"""Any interatomic potential, in an environment of its own, as one ASE calculator."""
