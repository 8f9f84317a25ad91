"""Files that matter: atomic writes, JSON with a format version, SHA-256, the names of run and cache folders.

A write goes to a temporary file beside the target, is synced, and is renamed over it: a reader sees the old file or the
new one, and a full disk leaves the old one whole.
"""

from __future__ import annotations

import contextlib
import csv
import hashlib
import io
import json
import os
import shutil
import tempfile
import zipfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import IO, Any, TypeVar

import platformdirs

from fieldguide.errors import BundleError, FieldguideError
from fieldguide.records import Record

FORMAT_VERSION = 1
MAX_JSON_BYTES = 2_000_000_000  # of our own; the split of ten million pictures has about one


def cache_directory() -> Path:
    """The folder of everything that may be deleted at any time: `FIELDGUIDE_CACHE`, else the user's cache folder."""
    override = os.environ.get("FIELDGUIDE_CACHE")
    return Path(override).expanduser() if override else Path(platformdirs.user_cache_dir("fieldguide", appauthor=False))


def keep_keras_out_of_the_home() -> None:
    """Lets Keras keep `keras.json`, which it writes when it is imported, in the cache, unless the user has one already."""
    if "KERAS_HOME" not in os.environ and not Path("~/.keras").expanduser().exists():
        os.environ["KERAS_HOME"] = str(cache_directory() / "keras")


@contextlib.contextmanager
def saving(path: Path) -> Iterator[None]:
    """Says of an OSError in the block, such as a full disk, what could not be written and what to do.

    Raises:
        FieldguideError: in place of the OSError.
    """
    try:
        yield
    except OSError as error:
        raise FieldguideError(
            f"Cannot write {path}: {error.strerror or error}.\n"
            "hint: free some space or choose another folder; nothing that was saved before is lost."
        ) from error


@contextlib.contextmanager
def atomic_file(path: Path) -> Iterator[IO[bytes]]:
    """Opens a temporary file that takes the place of `path` when the block ends without an exception.

    Raises:
        FieldguideError: if the folder cannot be written or the disk is full; `path` is then as it was.
    """
    temporary: Path | None = None
    try:
        with saving(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent)
            temporary = Path(name)
            with os.fdopen(descriptor, "wb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            _share_permissions(temporary)
            os.replace(temporary, path)
            temporary = None
            _sync_directory(path.parent)
    finally:
        if temporary is not None:
            with contextlib.suppress(OSError):
                temporary.unlink()


@contextlib.contextmanager
def atomic_directory(path: Path) -> Iterator[Path]:
    """Gives a temporary folder that takes the place of `path` when the block ends without an exception.

    Files in it should be written by the functions of this module, which sync them.

    Raises:
        FieldguideError: if the folder cannot be written or the disk is full; `path` is then as it was.
    """
    temporary: Path | None = None
    try:
        with saving(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            temporary = Path(tempfile.mkdtemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent))
            yield temporary
            _share_permissions(temporary, 0o777)
            _replace_directory(temporary, path)
            _sync_directory(path.parent)
    finally:
        if temporary is not None:
            shutil.rmtree(temporary, ignore_errors=True)


def _replace_directory(source: Path, target: Path) -> None:
    # A folder cannot be renamed over one that holds something, so that one steps aside first.
    aside = source.with_name(f"{source.name.removesuffix('.part')}.old.part")
    if target.exists():
        os.replace(target, aside)
    try:
        os.replace(source, target)
    except OSError:
        if aside.exists():
            os.replace(aside, target)
        raise
    shutil.rmtree(aside, ignore_errors=True)


def _share_permissions(path: Path, mode: int = 0o666) -> None:
    # mkstemp makes private files; a run folder should be as readable as any other file of its owner.
    if os.name == "posix":
        umask = os.umask(0)
        os.umask(umask)
        path.chmod(mode & ~umask)


def _sync_directory(directory: Path) -> None:
    # Without this a power cut can undo the rename. Windows cannot open a folder, and needs no such sync.
    if os.name == "posix":
        descriptor = os.open(directory, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def write_bytes(path: Path, content: bytes) -> None:
    """Replaces `path` by `content`, atomically."""
    with atomic_file(path) as file:
        file.write(content)


def write_text(path: Path, content: str) -> None:
    """Replaces `path` by `content` in UTF-8, atomically."""
    write_bytes(path, content.encode("utf-8"))


def write_json(path: Path, values: Mapping[str, Any]) -> None:
    """Replaces `path` by `values` with a `format_version`, atomically."""
    text = json.dumps({"format_version": FORMAT_VERSION, **values}, indent=1, ensure_ascii=False, allow_nan=False)
    write_text(path, text + "\n")


def named(path: Path) -> Path:
    """The path, by its full name where it does not end in one, like `.` and `..`; what is beside it has a name then."""
    return path if path.name not in ("", "..") else path.resolve()


def read_json(path: Path, *, max_bytes: int = MAX_JSON_BYTES) -> dict[str, Any]:
    """What `write_json` wrote.

    Raises:
        BundleError: if the file is missing, larger than `max_bytes`, no JSON object, or written by a newer version.
    """
    try:
        if path.stat().st_size > max_bytes:
            raise BundleError(f"{path} has more than {max_bytes:,} bytes, which fieldguide never writes.")
        values = json.loads(path.read_text(encoding="utf-8"))
    except BundleError:
        raise
    except (FileNotFoundError, NotADirectoryError) as error:
        raise BundleError(f"{path.name} is missing in {path.parent}.\nhint: give the folder of a finished run.") from error
    except (OSError, ValueError, RecursionError) as error:
        raise BundleError(f"{path} cannot be read: {error}.\nhint: the file is damaged; train again.") from error
    if not isinstance(values, dict) or not isinstance(values.get("format_version"), int):
        raise BundleError(f"{path} was not written by fieldguide: it has no format_version.")
    if values["format_version"] > FORMAT_VERSION:
        raise BundleError(
            f"{path} has format {values['format_version']}; this version of fieldguide reads up to {FORMAT_VERSION}.\n"
            "hint: update fieldguide."
        )
    return values


@contextlib.contextmanager
def damaged_as_bundle_error(path: Path) -> Iterator[None]:
    """Says of whatever the block raises that this file is damaged: a foreign file can make any parser raise anything.

    Raises:
        BundleError: in place of any other exception.
    """
    try:
        yield
    except BundleError:
        raise
    except Exception as error:
        raise BundleError(f"{path} is damaged: {type(error).__name__}: {error}.\nhint: train again.") from error


R = TypeVar("R", bound=Record)


def read_record(kind: type[R], path: Path, **changes: Any) -> R:
    """The record that a file of `write_json` holds, with some values replaced.

    Raises:
        BundleError: if the file is missing or damaged, or holds something else.
    """
    values = read_json(path)
    with damaged_as_bundle_error(path):
        return kind.from_json({**values, **changes})


def unpack_known(path: Path, marker: str, max_bytes: Mapping[str, int]) -> Path:
    """Copies the files of those names, and no others, out of a zip into a new temporary folder.

    They lie beside the one file called `marker`, in whatever folder of the archive; one that has none of the others beside it
    is something else's. Names in the archive are compared and
    never used as paths; what an archive says of a size is a limit to what is unpacked.

    Args:
        path: of the zip.
        marker: one of the names.
        max_bytes: of each name, unpacked.

    Raises:
        BundleError: if there is not one marker, or a file is too large, there twice, or damaged.
    """
    directory = Path(tempfile.mkdtemp(prefix="fieldguide-bundle-"))
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
            present, others = {member.filename for member in members}, set(max_bytes) - {marker}
            markers = [
                member
                for member in members
                if (place := PurePosixPath(member.filename)).name == marker
                and any(str(place.with_name(other)) in present for other in others)
            ]
            if len(markers) != 1:
                raise BundleError(f"{path} holds {len(markers)} bundles; expected one.")
            parent = PurePosixPath(markers[0].filename).parent
            for name, limit in max_bytes.items():
                found = [member for member in members if member.filename == str(parent / name)]
                if len(found) > 1:
                    raise BundleError(f"{path} holds {name} twice.")
                for member in found:  # a missing file is reported by name later
                    if member.file_size > limit:
                        raise BundleError(f"{name} in {path} has {member.file_size:,} bytes; at most {limit:,} are read.")
                    with archive.open(member) as source, (directory / name).open("wb") as target:
                        shutil.copyfileobj(source, target)
    except BundleError:
        shutil.rmtree(directory, ignore_errors=True)
        raise
    except Exception as error:  # a foreign archive can make zipfile raise anything
        shutil.rmtree(directory, ignore_errors=True)
        raise BundleError(f"{path} cannot be unpacked: {error}.") from error
    return directory


def csv_text(rows: Iterable[Mapping[str, Any]], columns: Sequence[str]) -> str:
    """Rows as CSV that is safe to open in a spreadsheet.

    A text that starts with a character by which spreadsheets recognise a formula gets an apostrophe before it.
    Source: https://owasp.org/www-community/attacks/CSV_Injection
    """
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, columns, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow({name: _spreadsheet_safe(row.get(name)) for name in columns})
    return buffer.getvalue()


def _spreadsheet_safe(value: Any) -> Any:
    if isinstance(value, str) and value.startswith(("=", "+", "-", "@", "\t", "\r")):
        return "'" + value
    return "" if value is None else value


def sha256(content: bytes) -> str:
    """SHA-256 of bytes, in hexadecimal."""
    return hashlib.sha256(content).hexdigest()


def sha256_file(path: Path) -> str:
    """SHA-256 of a file's content, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
