"""The launcher's one error."""

from __future__ import annotations


class LaunchError(Exception):
    """The platform cannot start (or go on); the text is a sentence for the person at the terminal."""
