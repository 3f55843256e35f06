"""The root tree of nodes: one recipe, cached by a hash of what is in it."""
