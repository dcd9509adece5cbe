"""`make run`: PostgreSQL, the broker, the serving engine and the platform under one foreground process.

Knows no Django; reads only `config.env`.
"""
