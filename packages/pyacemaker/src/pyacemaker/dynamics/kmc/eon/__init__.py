"""EON of the user's own installation as an engine of adaptive kinetic Monte Carlo."""
