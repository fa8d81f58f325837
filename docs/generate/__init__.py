"""Writes the reference pages of the site from the code: `python -m docs.generate`."""
