"""Back up and restore the reviews, MLflow's database and its artifacts."""
