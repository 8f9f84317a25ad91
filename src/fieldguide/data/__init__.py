"""From a folder to arrays: index, decode, cache, scan, split. Nothing here needs TensorFlow or the engine."""
