"""Training and evaluation: epochs as compiled programs, with the state as it should be."""
