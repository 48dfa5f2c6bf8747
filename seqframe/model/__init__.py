"""Keras models: their inputs and outputs, and their recurrent state."""
