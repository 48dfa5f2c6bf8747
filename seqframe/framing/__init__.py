"""From sequences to frames, lanes and batches. It needs NumPy only."""
