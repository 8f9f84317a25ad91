"""Training of networks with Keras on TensorFlow. To import a module of this package is to import TensorFlow.

The variables below are read once, when TensorFlow is first imported, so they are set here, before any module of the
package imports it. Those that the user has set stay as they are.
"""

from __future__ import annotations

import os
import sys
import tempfile

from fieldguide.storage import keep_keras_out_of_the_home

keep_keras_out_of_the_home()
os.environ["KERAS_BACKEND"] = "tensorflow"
# 2 hides what TensorFlow says while it runs (INFO, WARNING); errors still show.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
# TensorFlow turns oneDNN on by itself only where the processor has AVX-512; with AVX2 too it saves a third or more of a step.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")


def import_tensorflow() -> None:
    """Imports TensorFlow and starts its devices without the lines it prints, past every setting, on its way up.

    They go to the process's standard error (file descriptor 2) from C++, so that is where they are caught. Where the
    import fails they are printed, for they may say why.
    """
    sys.stderr.flush()
    saved = os.dup(2)
    with tempfile.TemporaryFile() as caught:
        os.dup2(caught.fileno(), 2)
        try:
            import keras
            import tensorflow as tf

            tf.config.list_physical_devices()
            keras.backend.backend()
        except BaseException:
            caught.seek(0)
            os.write(saved, caught.read())
            raise
        finally:
            os.dup2(saved, 2)
            os.close(saved)
