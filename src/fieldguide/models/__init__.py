"""Architectures: each one function, written once against `Operations`, built by Keras or by OpenVINO."""
