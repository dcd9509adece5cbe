"""The package's version; pyproject.toml and the User-Agent read it here."""

__version__ = "0.1.0"
