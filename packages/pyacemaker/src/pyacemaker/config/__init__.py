"""Configuration: what a user writes, checked, and every other number decided from physics.

config = load_config("silicon.yaml")     # raises ConfigError: FILE:LINE: key '...': ...
resolved = resolve(config)               # typed settings, and why each value is what it is
"""
