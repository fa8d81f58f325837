"""Dump and restore what a stack cannot make again: the reviews, MLflow's database and its artifacts."""
