"""The WSGI application that granian (or gunicorn gthread) serves."""

from __future__ import annotations

import gc
import os

from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
application = get_wsgi_application()

# What is loaded now stays for the life of the process: scanning it again and again makes the slowest answers slow.
gc.collect()
gc.freeze()
gc.set_threshold(20_000, 25, 50)
