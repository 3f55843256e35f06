"""What went wrong with a run of Quantum ESPRESSO, and what is done about it."""
