"""What is asked of a Keras model, and done to it: its inputs and outputs, its recurrent state."""
