"""A trained classifier as files that other programs run: one file per format here, one parity check for all.

`graph` holds what every exported file computes beyond the network, written once: the answers, and the resize. A format is a
module with the members of `formats.FormatModule` and a line in `formats.FORMATS`. `parity` compares the file, run in a
process of its own by `elsewhere`, with the engine.
"""
