"""The documentation site. `docs.generate` writes its reference."""
