"""Training and evaluation: epochs as compiled programs, with correct recurrent state."""
