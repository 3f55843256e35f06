"""Oona, the bus: typed messages with groups, acknowledgement, dead letters and replay."""
