"""External programs and data: fetched, checked against pinned hashes, built, kept in the cache."""
