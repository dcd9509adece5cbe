"""Django's backend for PostgreSQL with a thriftier pool."""
