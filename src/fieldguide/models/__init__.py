"""Architectures: each one function, written once against `Operations`, built by Keras or by OpenVINO."""

from fieldguide.storage import keep_keras_out_of_the_home

keep_keras_out_of_the_home()  # modules of this package import Keras, some of them late
