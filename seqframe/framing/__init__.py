"""From sequences to frames, lanes and batches. Needs NumPy alone."""
