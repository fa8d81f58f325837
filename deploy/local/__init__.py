"""The whole stack on one machine: real processes under supervisor, without Docker or an account."""
