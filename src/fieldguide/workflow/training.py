"""The order of the stages: what `train`, `audit`, `evaluate`, `predict` and `report` do, however they are called."""

from __future__ import annotations

import contextlib
import hashlib
import os
import platform
import shlex
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fieldguide import __version__
from fieldguide.auditing.audit import audit_scan, leaked_positions
from fieldguide.bundle import (
    NUM_PROBE_PICTURES,
    Bundle,
    build_files,
    read_bundle,
    read_tensors,
    write_bundle,
    write_tensors,
)
from fieldguide.classifier import Classifier, find_pictures, load
from fieldguide.data.cache import Cache
from fieldguide.data.index import describe, index_folder, labelled_pictures
from fieldguide.data.scan import Consumer, Scan, keep_pixels, scan, thumbnails
from fieldguide.data.split import split_images
from fieldguide.embedding.engine import Engine
from fieldguide.embedding.linear_head import LinearHead
from fieldguide.errors import BundleError, DatasetError, RecipeError
from fieldguide.evaluation.evaluate import (
    check_from_file,
    evaluate_embeddings,
    evaluate_pictures,
    read_evaluation,
    write_evaluation,
)
from fieldguide.evaluation.metrics import summarize
from fieldguide.recipes.classic import Classic
from fieldguide.recipes.fitted import Fitted
from fieldguide.recipes.transfer import Transfer
from fieldguide.records import PARTS, Audit, Evaluation, ImageIndex, Prediction, Preprocessing, Run, Split
from fieldguide.reporting.report import shown_paths, write_report
from fieldguide.storage import csv_text, free_name, read_json, sha256_file, write_json, write_text

RECIPES: dict[str, type[Transfer] | type[Classic]] = {"transfer": Transfer, "classic": Classic}
DEFAULT_RECIPE = "transfer"
_HALF_PRECISION_FROM = 200_000  # pictures: from there on embeddings are kept as float16
_MAX_SUSPECTS = 50

Say = Callable[[str], None]


def train(
    source: str | os.PathLike[str],
    *,
    out: str | os.PathLike[str] | None = None,
    recipe: str | Transfer | Classic = DEFAULT_RECIPE,
    seed: int = 0,
    group_by: str | None = None,
    exclude_classes: Sequence[str] = (),
    merge_subfolders: bool = False,
    sixteen_bit_max: int | None = None,
    precision: str = "auto",
    progress: bool = True,
    say: Say = lambda line: None,
) -> Run:
    """Audits, splits, trains, evaluates and reports: a folder of pictures becomes a run folder.

    Args:
        source: a folder of class folders (see `fieldguide.data.index`), or a CSV file.
        out: the run folder; `runs/NAME` when None. A folder in use is left alone: `NAME-2` is taken, and said.
        recipe: `transfer`, `classic`, or one of their dataclasses with settings of your own.
        seed: of split, folds and training; the same seed on the same machine gives the same bytes.
        group_by: regular expression whose match in a path names the picture's group; a group never straddles a split.
        exclude_classes: class folders to leave out.
        merge_subfolders: subfolders belong to the class above them, even where their names repeat.
        sixteen_bit_max: the value of white in 16-bit grey pictures; 65535 when None.
        precision: of the engine: `auto`, `f32` or `bf16`.
        progress: whether to show progress bars, where standard error is a terminal or a notebook.
        say: called with a line at each stage.

    Raises:
        DatasetError: if the folder cannot be used; the message says what to do.
        RecipeError: if a setting is out of range.
    """
    settings = _recipe(recipe)
    stages = _Stages(time.perf_counter())
    preprocessing = Preprocessing(settings.image_size, sixteen_bit_max=sixteen_bit_max)
    with stages.time("index"):
        index = index_folder(source, group_by=group_by, exclude_classes=exclude_classes, merge_subfolders=merge_subfolders)
    say(describe(index))
    directory = _claim(out, Path(index.root if index.layout != "csv" else source), say)
    write_json(directory / "recipe.json", {"recipe": _name_of(settings), "settings": settings.to_json(), "seed": seed})
    with Cache() as cache:
        if isinstance(settings, Transfer):
            with stages.time("prepare"):
                network_path = settings.network_files()
                engine = Engine(network_path, precision=precision)
            consumer = _embedding_consumer(engine, network_path, preprocessing, len(index.images))
            scanned = _scan(index, preprocessing, cache, consumer, stages, progress, "scan + embed")
        else:
            scanned = _scan(index, preprocessing, cache, keep_pixels(preprocessing), stages, progress, "scan")
        with stages.time("audit + split"):
            audit_result = audit_scan(index, scanned)
            split = split_images(
                scanned.images,
                index.class_names,
                pixel_hashes=[facts.pixel_hash for facts in scanned.facts],
                seed=seed,
                root=index.root,
            )
            _write_data_records(directory, index, audit_result, split)
        _say_findings(audit_result, say)
        with stages.time("train"):
            fitted, fit_positions = _fit(settings, scanned, split, seed, progress)
        fingerprint = _fingerprint(scanned)
        with stages.time("bundle"):
            if not isinstance(settings, Transfer):
                network_path = build_files(fitted.network, fitted.weights, directory / ".network")
                engine = Engine(network_path, precision=precision)
            probe = _probe_pixels(scanned, split, settings, Path(index.root), preprocessing)
            bundle = write_bundle(
                directory / "bundle",
                network=fitted.network,
                network_path=network_path,
                weights=fitted.weights,
                head=LinearHead(fitted.head_kernel, fitted.head_bias),
                class_names=index.class_names,
                preprocessing=preprocessing,
                probe_pixels=probe,
                engine=engine,
                recipe=_name_of(settings),
                extra={"data_fingerprint": fingerprint, "seed": seed},
            )
            _remove_scratch(directory)
        with stages.time("evaluate"):
            embeddings = scanned.values
            if embeddings is None:
                raise RecipeError("The scan kept no values.")  # cannot be: both recipes ask for them
            if not isinstance(settings, Transfer):
                embeddings = _embed_pixels(engine, embeddings)
            evaluations = _evaluate_parts(bundle, scanned, split, fitted, fit_positions, embeddings, cache)
            checked = evaluations["test"] or evaluations["val"] or evaluations["train"]
            classifier = Classifier(bundle, precision=engine.precision)
            if checked is not None and checked.method != "out-of-fold":
                check_from_file(classifier, Path(index.root), checked)
            scores = {part: summarize(e) if e is not None else None for part, e in evaluations.items()}
            for part, evaluation in evaluations.items():
                if evaluation is not None:
                    write_evaluation(directory / "evaluation", evaluation, scores[part] or {})
        suspects = _suspects(fitted, split, fit_positions)
        with stages.time("report"):
            position = {path: i for i, path in enumerate(split.paths)}
            shown = [position[path] for path in shown_paths(audit=audit_result, evaluations=evaluations, suspects=suspects)]
            pictures = thumbnails(Path(index.root), scanned, shown, preprocessing, cache)
            if pictures:
                arrays = {path: np.frombuffer(jpeg, np.uint8) for path, jpeg in pictures.items()}
                write_tensors(directory / "evaluation" / "thumbnails.safetensors", arrays)
            write_json(directory / "evaluation" / "suspects.json", {"suspects": suspects})
            run = Run(
                directory=str(directory),
                recipe=_name_of(settings),
                settings=settings.to_json(),
                class_names=index.class_names,
                seed=seed,
                layout=describe(index),
                scores=scores,
                seconds=stages.seconds(),
                environment=_environment(engine.precision, Path(index.root).name, _command(source, directory, settings, seed)),
                data_fingerprint=fingerprint,
                history=fitted.history,
                learning_curve=fitted.learning_curve,
                notes=(*fitted.notes, *_notes(index, split, evaluations, settings)),
                interrupted=fitted.interrupted,
            )
            _write_history(directory, run)
            write_report(
                directory, run=run, audit=audit_result, evaluations=evaluations, thumbnails=pictures, suspects=suspects
            )
        run = Run(**{**vars(run), "seconds": stages.seconds()})
        write_json(directory / "run.json", run.to_json())  # last: a folder with run.json is a finished run
    return run


def audit(
    source: str | os.PathLike[str],
    *,
    group_by: str | None = None,
    exclude_classes: Sequence[str] = (),
    merge_subfolders: bool = False,
    sixteen_bit_max: int | None = None,
    progress: bool = True,
    say: Say = lambda line: None,
) -> Audit:
    """Reads every picture of a folder and says what it found; nothing is changed.

    Arguments and errors as in `train`.
    """
    index = index_folder(source, group_by=group_by, exclude_classes=exclude_classes, merge_subfolders=merge_subfolders)
    say(describe(index))
    preprocessing = Preprocessing(Transfer().image_size, sixteen_bit_max=sixteen_bit_max)
    with Cache() as cache:
        scanned = _scan(index, preprocessing, cache, None, _Stages(time.perf_counter()), progress, "scan")
    return audit_scan(index, scanned)


def evaluate(run: str | os.PathLike[str], *, data: str | os.PathLike[str] | None = None, precision: str = "auto") -> Evaluation:
    """The scores of a run on its test part (its validation part if it has no test part), or on other labelled pictures.

    Args:
        run: a run folder; with `data` also a bundle folder or a zip.
        data: a folder of class folders, a folder with a test part, or a CSV file; classes are matched by name.
        precision: of the engine, with `data`.

    Raises:
        BundleError: if the run is not finished.
        DatasetError: if `data` has a class the classifier does not know, or no picture that can be read.
    """
    if data is not None:
        classifier = load(run, precision=precision)
        index = labelled_pictures(data, classifier.class_names)
        labels = np.array([image.label for image in index.images], dtype=np.int64)
        paths = [image.path for image in index.images]
        evaluation, _ = evaluate_pictures(classifier, Path(index.root), paths, labels, part="test")
        return evaluation
    for part in ("test", "val"):
        evaluation_of_part = read_evaluation(Path(run) / "evaluation", part)
        if evaluation_of_part is not None:
            return evaluation_of_part
    raise BundleError(f"{os.fspath(run)!r} holds no evaluation.\nhint: give a finished run, or pictures with `--data`.")


def predict(
    run: str | os.PathLike[str],
    paths: str | os.PathLike[str] | Iterable[str | os.PathLike[str]],
    *,
    precision: str = "auto",
) -> Iterator[Prediction]:
    """Classifies files, folders and glob patterns with a run, a bundle or a zip of one; answers come in order.

    A file that cannot be read gives a prediction whose `error` says why.

    Raises:
        BundleError: if the run is missing, unfinished or damaged.
    """
    given = [paths] if isinstance(paths, str | os.PathLike) else paths
    classifier = load(run, precision=precision)
    return classifier.predict_many(list(find_pictures(given)))


def report(run: str | os.PathLike[str]) -> Path:
    """Writes the report of a finished run again from its records; returns the path of `report.html`.

    Raises:
        BundleError: if the run is not finished.
    """
    directory = Path(run)
    values = read_json(directory / "run.json")
    finished = Run.from_json({**values, "directory": str(directory)})
    pictures_path = directory / "evaluation" / "thumbnails.safetensors"
    pictures = read_tensors(pictures_path) if pictures_path.is_file() else {}
    return write_report(
        directory,
        run=finished,
        audit=Audit.from_json(read_json(directory / "audit.json")),
        evaluations={part: read_evaluation(directory / "evaluation", part) for part in PARTS},
        thumbnails={path: jpeg.tobytes() for path, jpeg in pictures.items()},
        suspects=read_json(directory / "evaluation" / "suspects.json")["suspects"],
    )


@dataclass
class _Stages:
    """Seconds per stage, in order."""

    started: float
    spent: dict[str, float] = field(default_factory=dict)

    @contextlib.contextmanager
    def time(self, name: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        self.spent[name] = time.perf_counter() - start

    def seconds(self) -> dict[str, float]:
        return {"total": time.perf_counter() - self.started, **self.spent}


def _recipe(recipe: str | Transfer | Classic) -> Transfer | Classic:
    if isinstance(recipe, Transfer | Classic):
        return recipe
    if recipe not in RECIPES:
        raise RecipeError(f"There is no recipe {recipe!r}.\nhint: choose one of {', '.join(RECIPES)}.")
    return RECIPES[recipe]()


def _name_of(settings: Transfer | Classic) -> str:
    return next(name for name, cls in RECIPES.items() if isinstance(settings, cls))


def _claim(out: str | os.PathLike[str] | None, source: Path, say: Say) -> Path:
    """Makes the run folder; never one that holds anything already."""
    stem = source.stem if source.suffix.lower() == ".csv" else source.name
    wanted = Path(out).expanduser() if out is not None else Path("runs") / (stem or "dataset")
    if wanted.exists() and not wanted.is_dir():
        raise DatasetError(f"{str(wanted)!r} is a file; the run needs a folder.\nhint: give another name with --out.")
    directory = free_name(wanted)
    if directory != wanted:
        say(f"{wanted} holds a run already; this one goes to {directory}")
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DatasetError(
            f"The run folder {str(directory)!r} cannot be made: {error.strerror or error}.\nhint: choose another with --out."
        ) from error
    return directory


def _embedding_consumer(engine: Engine, network_path: Path, preprocessing: Preprocessing, num_images: int) -> Consumer:
    pixels_kind = keep_pixels(preprocessing).kind
    network_hash = sha256_file(network_path)[:16] + sha256_file(network_path.with_suffix(".bin"))[:16]
    dtype = "float16" if num_images > _HALF_PRECISION_FROM else "float32"
    kind = f"embedding-{network_hash}-{engine.precision}-{dtype}-{pixels_kind}"
    return Consumer(kind, (engine.embedding_size,), dtype, engine.embed_stream)


def _scan(
    index: ImageIndex,
    preprocessing: Preprocessing,
    cache: Cache,
    consumer: Consumer | None,
    stages: _Stages,
    progress: bool,
    title: str,
) -> Scan:
    from tqdm.auto import tqdm

    is_shown = progress and (sys.stderr.isatty() or "ipykernel" in sys.modules)
    with (
        stages.time(title),
        tqdm(total=len(index.images), desc=title, unit=" pictures", disable=not is_shown, leave=False) as bar,
    ):
        return scan(index, preprocessing, cache=cache, consumer=consumer, progress=bar.update)


def _fit(
    settings: Transfer | Classic, scanned: Scan, split: Split, seed: int, progress: bool
) -> tuple[Fitted, NDArray[np.int64]]:
    """Fits the recipe; returns with it the positions of the pictures it was fitted on."""
    values, labels, num_classes = scanned.values, split.labels, len(split.class_names)
    if values is None:
        raise RecipeError("The scan kept no values.")  # cannot be: both recipes ask for them
    if isinstance(settings, Transfer):
        # Out-of-fold predictions validate every training picture, so a validation part that we carved is learned from.
        positions = split.train if split.val_is_given else np.sort(np.concatenate([split.train, split.val]))
        rows = values if len(positions) == len(values) else values[positions]
        fitted = settings.fit(rows, labels[positions], split.groups[positions], num_classes=num_classes, seed=seed)
        return fitted, positions
    fitted = settings.fit(
        values[split.train],
        labels[split.train],
        values[split.val],
        labels[split.val],
        num_classes=num_classes,
        seed=seed,
        progress=progress,
    )
    return fitted, split.train


def _probe_pixels(
    scanned: Scan, split: Split, settings: Transfer | Classic, root: Path, preprocessing: Preprocessing
) -> NDArray[np.uint8]:
    """Four training pictures, of different classes as far as there are."""
    labels = split.labels[split.train]
    firsts = [int(split.train[np.flatnonzero(labels == label)[0]]) for label in np.unique(labels)]
    chosen = (firsts + [int(i) for i in split.train if i not in firsts[:NUM_PROBE_PICTURES]])[:NUM_PROBE_PICTURES]
    if isinstance(settings, Classic) and scanned.values is not None:
        return np.ascontiguousarray(scanned.values[chosen])
    # The embedding pass keeps no pixels; four small decodes cost less than keeping them would.
    from fieldguide.data.decoding import load as decode_and_shrink
    from fieldguide.data.decoding import read_file

    size, white = preprocessing.image_size, preprocessing.sixteen_bit_max
    return np.stack([decode_and_shrink(read_file(root / scanned.images[i].path), size, sixteen_bit_max=white) for i in chosen])


def _embed_pixels(engine: Engine, pixels: NDArray[np.uint8], batch_size: int = 8) -> NDArray[np.float32]:
    batches = ((slice(i, i + batch_size), pixels[i : i + batch_size]) for i in range(0, len(pixels), batch_size))
    result = np.empty((len(pixels), engine.embedding_size), np.float32)
    for rows, embeddings in engine.embed_stream(batches):
        result[rows] = embeddings
    return result


def _evaluate_parts(
    bundle: Bundle,
    scanned: Scan,
    split: Split,
    fitted: Fitted,
    fit_positions: NDArray[np.int64],
    embeddings: NDArray[Any],
    cache: Cache,
) -> dict[str, Evaluation | None]:
    labels, paths = split.labels, split.paths

    def held_out(part: str, positions: NDArray[np.int64], method: str, **more: Any) -> Evaluation | None:
        names = [paths[i] for i in positions]
        return evaluate_embeddings(bundle, embeddings[positions], labels[positions], names, part=part, method=method, **more)

    result = {"train": held_out("train", fit_positions, "fitted on")}
    if fitted.out_of_fold is not None and not split.val_is_given:
        positions = fit_positions[fitted.out_of_fold.positions]
        result["val"] = Evaluation(
            part="val",
            class_names=bundle.class_names,
            labels=labels[positions],
            probabilities=fitted.out_of_fold.probabilities,
            paths=tuple(paths[i] for i in positions),
            method="out-of-fold",
        )
    else:
        result["val"] = held_out("val", split.val, "held out")
    times_scored = None
    if len(split.test):
        digests = sorted(scanned.digests[i] + bytes(paths[i], "utf-8") for i in split.test)
        times_scored = cache.count("scored-" + hashlib.sha256(b"".join(digests)).hexdigest())
    copies = leaked_positions(scanned)
    leaked = [k for k, i in enumerate(split.test.tolist()) if i in copies]
    result["test"] = held_out("test", split.test, "held out", leaked=leaked, times_scored=times_scored)
    return result


def _suspects(fitted: Fitted, split: Split, fit_positions: NDArray[np.int64]) -> list[dict[str, Any]]:
    """Training pictures that models which had not seen them put, surely, into another class; worst first."""
    if fitted.out_of_fold is None:
        return []
    positions = fit_positions[fitted.out_of_fold.positions]
    probabilities, labels = fitted.out_of_fold.probabilities, split.labels[positions]
    rows = np.arange(len(labels))
    own, top = probabilities[rows, labels], probabilities.argmax(axis=1)
    doubtful = np.flatnonzero((top != labels) & (probabilities[rows, top] >= 0.8))
    return [
        {
            "path": split.images[positions[i]].path,
            "label": split.class_names[labels[i]],
            "suggested": split.class_names[top[i]],
            "probability": float(probabilities[i, top[i]]),
        }
        for i in doubtful[np.argsort(own[doubtful], kind="stable")][:_MAX_SUSPECTS]
    ]


def _write_data_records(directory: Path, index: ImageIndex, audit_result: Audit, split: Split) -> None:
    write_json(directory / "index.json", index.to_json())
    write_json(directory / "audit.json", audit_result.to_json())
    write_json(directory / "split.json", split.to_json())


def _write_history(directory: Path, run: Run) -> None:
    if run.history:
        write_text(directory / "history.csv", csv_text(run.history, list(run.history[0])))


def _remove_scratch(directory: Path) -> None:
    scratch = directory / ".network"
    if scratch.is_dir():
        for name in ("network.xml", "network.bin"):
            (scratch / name).unlink(missing_ok=True)
        scratch.rmdir()


def _fingerprint(scanned: Scan) -> str:
    """SHA-256 over path, label, part and content of every usable picture."""
    hasher = hashlib.sha256()
    for image, digest in zip(scanned.images, scanned.digests, strict=True):
        hasher.update(f"{image.path}\0{image.label}\0{image.part}\0{image.group}\0".encode())
        hasher.update(digest)
    return hasher.hexdigest()


def _command(source: str | os.PathLike[str], directory: Path, settings: Transfer | Classic, seed: int) -> str:
    words = ["fieldguide", "train", os.fspath(source), "--out", str(directory), "--recipe", _name_of(settings)]
    return shlex.join([*words, "--seed", str(seed)])


def _environment(precision: str, dataset: str, command: str) -> dict[str, Any]:
    from importlib.metadata import version

    names = ("numpy", "pillow", "openvino", "scipy", "keras", "tensorflow")
    return {
        "dataset": dataset,
        "date": datetime.now().astimezone().isoformat(timespec="minutes"),
        "command": command,
        "fieldguide": __version__,
        "python": platform.python_version(),
        "system": platform.platform(),
        "processor": platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "precision": precision,
        **{name: version(name) for name in names},
    }


def _notes(
    index: ImageIndex, split: Split, evaluations: Mapping[str, Evaluation | None], settings: Transfer | Classic
) -> list[str]:
    notes = []
    if evaluations["test"] is None:
        notes.append(
            f"There is no test part in {index.layout}: the validation score chose the model as well, so that it is "
            "somewhat optimistic. Keep pictures aside for a test."
        )
    if isinstance(settings, Transfer):
        notes.append(
            "The network below the head was trained on ImageNet, which holds cats, dogs and most everyday things: on "
            "such pictures transfer looks better than it would on pictures of another kind."
        )
    return notes


def _say_findings(audit_result: Audit, say: Say) -> None:
    for finding in audit_result.findings:
        if finding.severity != "note":
            say(f"{finding.severity}: {finding.message}")


__all__ = ["DEFAULT_RECIPE", "RECIPES", "audit", "evaluate", "predict", "read_bundle", "report", "train"]
