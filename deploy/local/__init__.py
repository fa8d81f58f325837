"""The whole service on one machine: real processes under supervisor, no Docker, no account."""
