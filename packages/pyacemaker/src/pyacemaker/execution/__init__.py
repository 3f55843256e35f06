"""Work in parallel, behind one small interface."""
