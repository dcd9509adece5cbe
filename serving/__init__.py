"""Embedded serving: file formats, the scan, the serving process and the engine that runs it.

This package imports neither Django nor any other package of the platform, so that a serving process
carries nothing of it.
"""
