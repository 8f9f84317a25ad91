"""The whole job: `train` turns a folder of pictures into a run folder, stage after stage."""

from __future__ import annotations

import dataclasses
import math
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fieldguide.auditing.review import COLUMNS, apply_review, read_review
from fieldguide.auditing.summary import summarised
from fieldguide.bundle import NUM_PROBE_PICTURES, build_files, write_bundle, write_tensors
from fieldguide.classifier import Classifier
from fieldguide.data import decoding
from fieldguide.data.cache import Cache
from fieldguide.data.index import ALSO, describe, index_folder
from fieldguide.data.scan import Scan
from fieldguide.data.split import refuse_unsplittable, split_images
from fieldguide.embedding.engine import Engine, network_of_graph, save_network
from fieldguide.embedding.linear_head import LinearHead
from fieldguide.embedding.novelty import DEFAULT_REJECT, check_reject
from fieldguide.errors import DatasetError, RecipeError
from fieldguide.evaluation.evaluate import check_from_file, unchanged, write_evaluation
from fieldguide.evaluation.metrics import summarize
from fieldguide.explanation.resemblance import write_memory
from fieldguide.recipes.own import own_recipe
from fieldguide.recipes.recipe import Recipe
from fieldguide.recipes.registry import DEFAULT_RECIPE
from fieldguide.recipes.settings import assignments_of, plan_of
from fieldguide.records import Audit, Evaluation, ImageIndex, Preprocessing, Run, Split
from fieldguide.reporting.live import LiveCurves
from fieldguide.reporting.page_pictures import write_page
from fieldguide.reporting.report import most_telling, shown_paths, write_report
from fieldguide.storage import csv_text, write_json, write_text
from fieldguide.training.checkpoint import Checkpoints
from fieldguide.training.session import Session
from fieldguide.workflow.certainty import learn_from_held_out
from fieldguide.workflow.claiming import check_same_pictures, claimed
from fieldguide.workflow.following import Learned, fitted_to_pictures, follow, training_data, used_split
from fieldguide.workflow.looking import look_at
from fieldguide.workflow.paging import gather, maps_meanwhile, page_thumbnails, remember
from fieldguide.workflow.provenance import Stages, environment, fingerprint, train_command
from fieldguide.workflow.scanning import Embedder, scan_pixels
from fieldguide.workflow.scoring import doubt_whether_it_learned, evaluate_parts

_MOST_SUSPECTS = 50

Say = Callable[[str], None]


def train(
    source: str | os.PathLike[str],
    *,
    out: str | os.PathLike[str] | None = None,
    recipe: str | os.PathLike[str] | Recipe = DEFAULT_RECIPE,
    model: Callable[[tuple[int, int], int], Any] | None = None,
    seed: int | None = None,
    review: str | os.PathLike[str] | None = None,
    also: str | os.PathLike[str] | None = None,
    group_by: str | None = None,
    exclude_classes: Sequence[str] = (),
    merge_subfolders: bool = False,
    sixteen_bit_max: int | None = None,
    precision: str = "auto",
    reject: float | None = None,
    time_seconds: float | None = None,
    tensorboard: bool = False,
    progress: bool = True,
    say: Say = lambda line: None,
) -> Run:
    """Audits, splits, trains, evaluates and reports: a folder of pictures becomes a run folder.

    A run that was killed or interrupted goes on where it was, when the same function is called with the same arguments.
    Ctrl-C and SIGTERM end the training of a network with the best model so far, which is then evaluated and reported.

    Args:
        source: a folder of class folders (see `fieldguide.data.index`), or a CSV file.
        out: the run folder; `runs/NAME` when None. A finished run is left alone: `NAME-2` is taken, and said.
        recipe: a name from `fieldguide.recipes.registry`, one of their dataclasses with settings of your own, or the
            `recipe.json` of a run.
        model: a function of image_size (height, width) and num_classes that gives a `keras.Model` of your own, from RGB pixels
            (0 to 255) to logits. It is trained as `recipe` says, which is a `Classic` then: its default, or your own.
        seed: of split, folds and training; the same seed on the same machine gives the same bytes. None: the one in
            `recipe.json`, else 0.
        review: a `review.csv`, as `fieldguide.audit` writes it and you edited it: pictures to leave out or to read with
            another label. Nothing in the folder is changed.
        also: a further folder of class folders, such as corrections that `serve --collect` kept: learned from, never chosen by
            nor scored on. Copies of validation and test pictures in it are left out.
        group_by: regular expression whose match in a path names the picture's group; a group never straddles a split.
        exclude_classes: class folders to leave out.
        merge_subfolders: subfolders belong to the class above them, even where their names repeat.
        sixteen_bit_max: the value of white in 16-bit grey pictures; 65535 when None.
        precision: of the engine: `auto`, `f32` or `bf16`.
        reject: share of pictures like the training pictures that may be answered "none of these"; 0.01 when None, and 0
            names a class for every picture.
        time_seconds: after the beginning of this call the training of a network ends, with the best model so far and a
            schedule fitted to it; evaluation and report come after it. A recipe that trains no network takes what it takes.
        tensorboard: whether the numbers of each epoch go to `tensorboard/` in the run folder as well as to `history.csv`.
        progress: whether to show how far it is: a bar in a terminal or a notebook, a line now and then in a log.
        say: called with a line at each stage.

    Raises:
        DatasetError: if the folder cannot be used, or if another process is at work in the run folder.
        RecipeError: if a setting is out of range, or if the run folder's run was cut off and was another one.
    """
    recipe, seed = plan_of(recipe, seed)
    if model is not None:
        recipe = own_recipe(model, recipe)
    reject = DEFAULT_REJECT if reject is None else reject
    check_reject(reject)
    if time_seconds is not None and not 1 <= time_seconds < math.inf:
        raise RecipeError(f"time_seconds must be 1 or more; received {time_seconds}.\nhint: as in `--time 10m`.")
    stages = Stages()
    options = {
        "review": None if review is None else _absolute(review),
        "also": None if also is None else _absolute(also),
        "group_by": group_by,
        "exclude_class": tuple(exclude_classes),
        "merge_subfolders": merge_subfolders,
        "sixteen_bit_max": sixteen_bit_max,
        "reject": None if reject == DEFAULT_REJECT else reject,
        "precision": None if precision == "auto" else precision,
        "time": None if time_seconds is None else f"{time_seconds:g}s",
        "tensorboard": tensorboard,
    }
    with stages.time("index"):
        index = index_folder(
            source, also=also, group_by=group_by, exclude_classes=exclude_classes, merge_subfolders=merge_subfolders
        )
    say(describe(index))
    decided = read_review(review, index.class_names) if review is not None else None
    if decided is not None:
        index = apply_review(index, decided)
    refuse_unsplittable(index)
    root = Path(index.root)
    plan = {"recipe": recipe.name, "settings": recipe.to_json(), "seed": seed}
    if time_seconds is not None:
        plan["time_seconds"] = time_seconds
    wanted = _run_folder(out, root if index.layout != "csv" else Path(source))
    with claimed(wanted, plan, say) as directory, Cache() as cache, LiveCurves(shown=progress) as curves:
        with stages.time("prepare"):
            frozen = recipe.frozen_network()
            embedder = Embedder.of(recipe, sixteen_bit_max=sixteen_bit_max, precision=precision)
            engine = embedder.engine
        with stages.time("scan + embed"):
            scanned = embedder.scan(index, cache, progress=progress)
        with stages.time("audit + split"):
            looked = look_at(index, scanned, scanned.values, seed=seed, with_test=False)
            audit = looked.audit
            _say_findings(audit, say)
            split = split_images(
                scanned.images,
                index.class_names,
                pixel_hashes=looked.copies.keys,
                seed=seed,
                root=index.root,
            )
            digest = fingerprint(scanned)
            check_same_pictures(directory, index, digest)
            write_json(directory / "audit.json", audit.to_json())
            if decided is not None:
                write_text(directory / "review.csv", csv_text(decided.rows(), COLUMNS))
            write_json(directory / "split.json", split.to_json())
        recipe, enlarged = fitted_to_pictures(recipe, scanned)
        for note in enlarged:
            say(note)
        preprocessing = Preprocessing(recipe.image_size, sixteen_bit_max=sixteen_bit_max)
        look_again = partial(scan_pixels, index, scanned, cache=cache, progress=progress)
        if frozen is None:
            with stages.time("scan again"):
                scanned = look_again(preprocessing)
        with stages.time("train"):
            used = used_split(split, recipe)
            identity = {**plan, "data_fingerprint": digest, "preprocessing": preprocessing.to_json()}
            checkpoints = Checkpoints(directory / "checkpoints", identity=identity, say=say)
            session = Session(
                progress,
                say,
                checkpoints,
                deadline=None if time_seconds is None else stages.started + time_seconds,
                history=directory / "history.csv",
                tensorboard=directory / "tensorboard" if tensorboard else None,
                watch=curves,
            )
            fitted = recipe.fit(training_data(scanned, used, seed=seed, session=session))
            learned = Learned(recipe, fitted, scanned, used, preprocessing, frozen)
        if fitted.follow_up is not None:
            with stages.time("fine-tune"):
                learned = follow(learned, split, scan_pixels=look_again, seed=seed, session=session)
        fitted, scanned, used, preprocessing = learned.fitted, learned.scanned, learned.used, learned.preprocessing
        chosen = fitted.made_by or learned.recipe.name
        with stages.time("certainty"):
            network_path, embeddings = learned.frozen, scanned.values
            if network_path is None:
                network_path = directory / ".network" / "network.xml"
                if fitted.graph is not None:
                    save_network(network_of_graph(fitted.graph), network_path)
                else:
                    build_files(fitted.network, fitted.weights, network_path.parent)
                engine = Engine(network_path, precision=precision)
                embeddings = engine.embed(scanned.values)
            held_out = learn_from_held_out(fitted, used, embeddings, reject=reject)
        with stages.time("bundle"):
            bundle = write_bundle(
                directory / "bundle",
                network=fitted.network,
                network_path=network_path,
                weights=fitted.weights,
                head=LinearHead(fitted.head_kernel, fitted.head_bias),
                class_names=index.class_names,
                preprocessing=preprocessing,
                probe_pixels=_probe_pixels(scanned, split, root, preprocessing),
                engine=engine,
                certainty=held_out.certainty,
                recipe=chosen,
                extra={"data_fingerprint": digest, "seed": seed},
            )
            shutil.rmtree(directory / ".network", ignore_errors=True)
        with stages.time("evaluate"):
            evaluations = evaluate_parts(bundle, scanned, looked.copies, used, held_out, embeddings, cache)
            changed: tuple[str, ...] = ()
            classifier = Classifier(bundle, precision=engine.precision)
            checked = evaluations["test"] or evaluations["val"] or evaluations["train"]
            if checked is not None and checked.method != "out-of-fold":
                changed = check_from_file(classifier, root, checked).changed
            scores = {part: summarize(e) if e is not None else None for part, e in evaluations.items()}
            doubts = doubt_whether_it_learned(evaluations, scores)
            for note in doubts:
                say(note)
            for part, evaluation in evaluations.items():
                if evaluation is not None:
                    write_evaluation(directory / "evaluation", evaluation, scores[part] or {})
            memory = remember(embeddings, used, looked.space if embeddings is scanned.values else None)
            write_memory(directory / "evaluation", memory)
        with stages.time("report"), ThreadPoolExecutor(1, thread_name_prefix="maps") as pool:
            doubted = _suspects(audit, split)
            told = most_telling(evaluations)
            page = gather(told, audit, scanned, split, embeddings, memory, seed=seed) if told else None
            with_maps = maps_meanwhile(pool, classifier, root, told, page) if told and page else lambda: None
            paths = shown_paths(audit=audit, evaluations=evaluations, suspects=doubted) + (page.paths if page else ())
            pictures = page_thumbnails(paths, root, scanned, embedder.preprocessing, cache)
            if pictures:
                arrays = {path: np.frombuffer(jpeg, np.uint8) for path, jpeg in pictures.items()}
                write_tensors(directory / "evaluation" / "thumbnails.safetensors", arrays)
            write_json(directory / "evaluation" / "suspects.json", {"suspects": doubted})
            changes = {"set": assignments_of(recipe)}
            command = train_command(source, out=directory, recipe=recipe.name, **changes, seed=seed, **options)
            run = Run(
                directory=str(directory),
                recipe=recipe.name,
                chosen=chosen,
                settings=recipe.to_json(),
                class_names=index.class_names,
                seed=seed,
                layout=describe(index),
                scores=scores,
                seconds=stages.seconds(),
                environment=environment(engine.precision, root.name, command),
                data_fingerprint=digest,
                history=fitted.history,
                learning_curve=fitted.learning_curve,
                notes=(*enlarged, *fitted.notes, *doubts, *_notes(index, split, evaluations, changed)),
                arguments={"source": _absolute(source), **options},
                certainty=held_out.facts,
                interrupted=fitted.interrupted,
                work=fitted.work,
            )
            _write_history(directory, run)
            write_report(
                directory,
                run=run,
                audit=audit,
                evaluations=evaluations,
                thumbnails=pictures,
                suspects=doubted,
                page=lambda: write_page(directory / "evaluation", with_maps()),
            )
        run = dataclasses.replace(run, seconds=stages.seconds())
        write_json(directory / "run.json", run.to_json())  # last: a folder with run.json is finished, or was interrupted
        if run.interrupted is None:
            checkpoints.remove()
    return run


def _absolute(path: str | os.PathLike[str]) -> str:
    return os.path.abspath(os.path.expanduser(path))


def _run_folder(out: str | os.PathLike[str] | None, source: Path) -> Path:
    stem = source.stem if source.suffix.lower() == ".csv" else source.name
    return Path(out).expanduser() if out is not None else Path("runs") / (stem or "dataset")


def _probe_pixels(scanned: Scan, split: Split, root: Path, preprocessing: Preprocessing) -> NDArray[np.uint8]:
    """Four training pictures, of different classes as far as there are, decoded once more."""
    labels = split.labels[split.train]
    firsts = [int(split.train[np.flatnonzero(labels == label)[0]]) for label in np.unique(labels)]
    size, white = preprocessing.image_size, preprocessing.sixteen_bit_max
    chosen: list[NDArray[np.uint8]] = []
    for i in (*firsts, *(int(i) for i in split.train if i not in firsts[:NUM_PROBE_PICTURES])):
        content = unchanged(root / scanned.images[i].path, scanned.digests[i].hex())
        if content is not None:
            chosen.append(decoding.load(content, size, sixteen_bit_max=white))
        if len(chosen) == NUM_PROBE_PICTURES:
            break
    if not chosen:
        raise DatasetError(f"Every training picture in {root} has changed or vanished during the run.\nhint: train again.")
    return np.stack(chosen)


def _write_history(directory: Path, run: Run) -> None:
    if run.history:
        write_text(directory / "history.csv", csv_text(run.history, list(run.history[0])))


def _notes(index: ImageIndex, split: Split, evaluations: Mapping[str, Evaluation | None], changed: Sequence[str]) -> list[str]:
    notes = []
    also = [i for i, image in enumerate(split.images) if image.part == ALSO]
    if also:
        num_left_out = len(set(also) - set(split.train.tolist()))
        notes.append(
            f"{len(also) - num_left_out:,} pictures came from a second folder (--also) and were learned from; {num_left_out:,} "
            "more in it are copies of validation or test pictures and were left out."
        )
    if changed:
        notes.append(
            f"{len(changed)} of the pictures that were to be asked again from file have changed or vanished during the run "
            f"({changed[0]}{', ...' if len(changed) > 1 else ''}); the scores are of what they were when it began."
        )
    if evaluations["test"] is not None or evaluations["val"] is None:
        return notes
    return [
        *notes,
        f"There is no test part in {index.layout}: the validation score chose the model as well, so that it is "
        "somewhat optimistic. Keep pictures aside for a test.",
    ]


def _suspects(audit: Audit, split: Split) -> list[dict[str, Any]]:
    """The labels to look at first, the most suspicious first."""
    label_of = {image.path: split.class_names[image.label] for image in split.images}
    found = sorted((f for f in audit.findings if f.kind == "label_error"), key=lambda f: -(f.score or 0.0))
    return [
        {"path": f.paths[0], "label": label_of[f.paths[0]], "suggested": f.suggested, "probability": f.score}
        for f in found[:_MOST_SUSPECTS]
    ]


def _say_findings(audit_result: Audit, say: Say) -> None:
    for finding in summarised(audit_result.findings):
        if finding.severity != "note" or finding.kind == "label_error":
            say(f"{finding.severity}: {finding.message}")
