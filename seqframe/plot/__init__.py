"""Draw frames, lanes, forecasts and learning curves from plain data."""
