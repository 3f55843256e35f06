"""Where labels come from: energy, forces and stress of a structure, or why there are none."""
