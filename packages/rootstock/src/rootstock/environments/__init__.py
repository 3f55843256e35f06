"""Environment files that come with rootstock: one a model family, `emt` and `lj` built in."""
