"""What answers at every endpoint's own address: a small ASGI application in a process of its own, in front of the
serving processes. It reads rights and routes from the database and keeps them until the database says that they
changed. It imports no Django models, and of the platform's secrets it has the database's address only.
"""
