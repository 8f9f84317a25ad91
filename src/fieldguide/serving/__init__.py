"""The HTTP server: `server` runs it, `app` says what it answers, `guard` and `limits` what it refuses.

    a request -> guard -> app -> decoders (other processes) -> batching (one thread, the engine) -> an answer

No TensorFlow here; FastAPI and its kin come with `pip install fieldguide[serve]`. Importing this package imports none of it.
"""
