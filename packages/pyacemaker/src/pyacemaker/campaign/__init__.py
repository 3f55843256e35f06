"""The campaign: the cycle, its state, and what it leaves behind."""
