"""Tamiyo, the control: when to grow, where, and what stays."""
