"""The environment files that come with rootstock."""
