"""Everything that talks to the Bento, the service that runs the sentiment model."""
