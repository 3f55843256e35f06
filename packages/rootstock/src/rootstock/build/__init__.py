"""Making environments: uv, interpreters, weights, the smoke test, and the swap."""
