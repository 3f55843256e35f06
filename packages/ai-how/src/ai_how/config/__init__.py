"""The cluster file: what a user writes, checked, with file, line, key and remedy."""
