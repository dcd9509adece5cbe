"""Figures, measured: this platform and MLflow on the same PostgreSQL, by the same client, in the same run."""
