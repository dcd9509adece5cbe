"""The WSGI application that granian (or gunicorn gthread) serves."""

from __future__ import annotations

import gc
import os

from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
application = get_wsgi_application()


def _load_all() -> None:
    """Routes and templates: the workers, which fork from here, need not load them with their first requests."""
    from django.conf import settings
    from django.template.loader import get_template
    from django.urls import reverse

    reverse("home")
    folder = settings.BASE_DIR / "templates"
    for path in folder.rglob("*.html"):
        get_template(str(path.relative_to(folder)))


_load_all()
# What is loaded now stays for the life of the process: scanning it again and again makes the slowest answers slow.
gc.collect()
gc.freeze()
gc.set_threshold(20_000, 25, 50)
