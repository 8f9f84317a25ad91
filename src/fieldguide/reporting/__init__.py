"""Figures and one self-contained page that a person reads after a run. Nothing here needs TensorFlow."""
