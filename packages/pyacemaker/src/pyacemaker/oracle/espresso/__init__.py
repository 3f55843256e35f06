"""Labels by Quantum ESPRESSO."""
