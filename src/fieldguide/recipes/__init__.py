"""The recipes: one file each, with its own dataclass of settings, its evidence, and its `fit`."""
