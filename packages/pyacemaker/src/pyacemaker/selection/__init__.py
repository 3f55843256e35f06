"""Which candidates are worth a label."""
