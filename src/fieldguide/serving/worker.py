"""A decoder in a process of its own: `python -m fieldguide.serving.worker HEIGHT WIDTH WHITE MEMORY`.

It reads pictures from standard input and writes pixels to standard output, until standard input ends. A picture that
makes it crash, hang or ask for too much memory harms this process alone; `decoders` replaces it.

    in:   length of the file (4 bytes, big endian), the file
    out:  length of the JSON, number of bytes of pixels (4 bytes each), the JSON, the pixels
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import struct
import sys
from typing import IO, Any

from PIL import Image

from fieldguide.data import decoding
from fieldguide.errors import DecodeError

REQUEST, REPLY = struct.Struct(">I"), struct.Struct(">II")


def decode(content: bytes, image_size: tuple[int, int], white: int | None) -> tuple[dict[str, Any], bytes]:
    """What to answer for one file: its format and its pixels, RGB uint8 of image_size, or the reason why there are none."""
    try:
        decoded = decoding.decode(content, cover=image_size, sixteen_bit_max=white)
        return {"format": decoded.format}, decoding.shrink(decoded.pixels, image_size).tobytes()
    except DecodeError as error:
        return {"reason": error.reason, "message": str(error)}, b""
    except MemoryError:
        return {"reason": "no_memory", "message": "there is not enough memory to decode it"}, b""


def limit_memory(extra_bytes: int) -> None:
    """Lets this process take that much more memory than it has now, where the system knows such a limit (Linux)."""
    with contextlib.suppress(ImportError, OSError, ValueError):
        import resource

        with open("/proc/self/statm", encoding="ascii") as file:
            now = int(file.read().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (now + extra_bytes, now + extra_bytes))


def serve_pipe(source: IO[bytes], target: IO[bytes], image_size: tuple[int, int], white: int | None) -> None:
    """Answers one file after the other until the source ends."""
    while len(head := source.read(REQUEST.size)) == REQUEST.size:
        about, pixels = decode(source.read(REQUEST.unpack(head)[0]), image_size, white)
        text = json.dumps(about).encode()
        target.write(REPLY.pack(len(text), len(pixels)) + text)
        target.write(pixels)
        target.flush()


def main() -> None:
    """Runs until standard input ends. Signals to the group are the server's business: it drains first."""
    height, width, white, memory = map(int, sys.argv[1:])
    for name in ("SIGINT", "SIGTERM", "SIGBREAK"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)
    # What a library prints must not get between the answers.
    target = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    Image.init()  # imports the parsers now, not with the first picture
    limit_memory(memory)
    with contextlib.suppress(BrokenPipeError):
        target.write(b"\n")  # ready
        target.flush()
        serve_pipe(sys.stdin.buffer, target, (height, width), white or None)


if __name__ == "__main__":
    main()
