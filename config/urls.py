"""All doors under one roof."""
