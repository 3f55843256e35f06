"""A running campaign in a browser: read-only, pushed as it changes."""
