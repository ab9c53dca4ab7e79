"""Training: schedules, step functions, the catalogue of recipes, and the driver with checkpoints."""
