"""Rollouts: a model's predictions fed back in, as text or as forecasts."""
