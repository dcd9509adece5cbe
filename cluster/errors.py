"""Why a cluster did not do it; each text is one sentence for people."""

from __future__ import annotations


class ClusterError(Exception):
    """The cluster did not do it."""


class ClusterAway(ClusterError):
    """It cannot be asked now, or cannot answer: nothing is known, try again."""


class ClusterRefused(ClusterError):
    """It answered that it will not do this; trying the same again is useless."""
