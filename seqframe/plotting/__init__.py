"""Pictures of frames, lanes, forecasts and learning curves, for those who have matplotlib."""
