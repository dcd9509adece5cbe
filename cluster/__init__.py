"""A Ray cluster as this platform uses it: by REST only, with no business words. Nothing here imports ray."""
