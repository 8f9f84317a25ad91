"""From a folder or a CSV file to an `ImageIndex`: which pictures there are, of which class, in which part.

Layouts, recognised without being told:

- parts: `training_set` + `test_set`, or `train` [+ `val`] [+ `test`] and their usual other names, class folders inside;
- flat: class folders directly in the folder;
- CSV: a file with the columns `path,label[,split][,group]`, paths relative to the file.

No picture is opened here.
"""

from __future__ import annotations

import difflib
import os
import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath

from fieldguide.data.decoding import EXTENSIONS
from fieldguide.data.listing import PART_OF, ListedFile, read_csv
from fieldguide.data.walking import badly_named, is_hidden, is_unicode, relative, subfolders, walk_pictures
from fieldguide.errors import DatasetError
from fieldguide.records import ImageIndex, LabeledImage, Skipped

ALSO = "also"  # the part of pictures that are learned from, never chosen by nor scored on


def index_folder(
    source: str | os.PathLike[str],
    *,
    also: str | os.PathLike[str] | None = None,
    group_by: str | None = None,
    exclude_classes: Sequence[str] = (),
    merge_subfolders: bool = False,
) -> ImageIndex:
    """Finds the pictures of a data set and their classes.

    Args:
        source: a folder in one of the layouts above, or a CSV file.
        also: a further folder of class folders whose pictures are learned from alone: they get the part "also".
        group_by: regular expression searched for in each path; what it matches (its first group, if it has one) names
            the picture's group. Pictures it does not match are each a group of their own.
        exclude_classes: class folders to leave out.
        merge_subfolders: subfolders of class folders belong to the class above them, even where the same subfolder
            names occur under several classes.

    Raises:
        DatasetError: if a folder is missing, holds no class folders or only one class, if a class of the test part or of `also`
            is unknown to the training part, if a class name occurs twice, or if a row of the CSV file is wrong.
    """
    path = Path(source).expanduser()
    if not path.exists():
        raise DatasetError(f"There is no folder or file {str(path)!r}.\nhint: {_neighbour_hint(path)}")
    if not is_unicode(str(path.resolve())):
        raise DatasetError(f"The name of {str(path)!r} is not valid Unicode, which reports need.\nhint: rename it.")
    skipped: list[Skipped] = []
    if path.is_file():
        if path.suffix.lower() != ".csv":
            raise DatasetError(
                f"{str(path)!r} is a file; expected a folder of class folders, or a CSV file with the columns "
                "path,label[,split][,group].\nhint: give the folder that holds the class folders."
            )
        root, layout = path.resolve().parent, "csv"
        files = read_csv(path)
    else:
        root = path.resolve()
        files, layout = _read_folders(root, skipped, merge_subfolders)
    files = _without_classes(files, exclude_classes, skipped)
    if group_by is not None:
        files = _with_groups(files, group_by)
    class_names = _class_names(files, root, skipped)
    if also is not None:
        files += _read_also(Path(also).expanduser(), root, class_names, skipped)
    position = {name: number for number, name in enumerate(class_names)}
    images = tuple(
        LabeledImage(path=f.path, label=position[f.class_name], part=f.part, group=f.group)
        for f in sorted(files, key=lambda f: f.path)
    )
    return ImageIndex(str(root), layout, class_names, images, tuple(sorted(skipped, key=lambda s: s.path)))


def labelled_pictures(source: str | os.PathLike[str], class_names: Sequence[str]) -> ImageIndex:
    """The pictures of a folder or CSV file by the classes of a trained classifier, for evaluation.

    Of a folder with parts the test part is taken. Not every class has to be there.

    Raises:
        DatasetError: if the folder is missing, holds no class folder, or has a class the classifier does not know.
    """
    path = Path(source).expanduser()
    if not path.exists():
        raise DatasetError(f"There is no folder or file {str(path)!r}.\nhint: {_neighbour_hint(path)}")
    skipped: list[Skipped] = []
    if path.is_file():
        root, layout = path.resolve().parent, "csv"
        files = read_csv(path, to_learn=False)
        if all(f.part in ("train", "val") for f in files):
            raise DatasetError(
                f"{path} has no row with split `test`.\nhint: mark the pictures to score on, or leave the column out."
            )
        files = [f for f in files if f.part in (None, "test")]
    else:
        root, layout = path.resolve(), "flat folder"
        parts = [folder for folder in subfolders(root) if folder.name.lower() in PART_OF]
        tests = [folder for folder in parts if PART_OF[folder.name.lower()] == "test"]
        if parts and not tests and not {folder.name for folder in parts} & set(class_names):
            raise DatasetError(
                f"{root} holds {', '.join(folder.name for folder in parts)} and no test part.\n"
                f"hint: give the part to score on, as {str(Path(source) / parts[-1].name)!r}."
            )
        folder = tests[0] if tests else root
        layout = f"{folder.name}/" if tests else layout
        files = _read_classes(folder, "test", root, skipped, merge_subfolders=True)
    position = {name: number for number, name in enumerate(class_names)}
    for file in files:
        if file.class_name not in position:
            raise DatasetError(
                f"The classifier does not know the class {file.class_name!r}.\n"
                f"Received: classes {', '.join(class_names)}.\nhint: rename the folder, or leave it out."
            )
    if not files:
        raise DatasetError(f"No pictures in {root}.\nhint: one folder per class, as in training.")
    images = tuple(LabeledImage(f.path, position[f.class_name], "test", f.group) for f in files)
    return ImageIndex(str(root), layout, tuple(class_names), images, tuple(skipped))


def describe(index: ImageIndex) -> str:
    """The index in one line: layout, classes, pictures."""
    num_also = sum(image.part == ALSO for image in index.images)
    more = f", {num_also:,} of them from the folder to learn from as well" if num_also else ""
    return f"{index.layout}, {len(index.class_names)} classes, {len(index.images):,} pictures{more}"


def _read_folders(root: Path, skipped: list[Skipped], merge_subfolders: bool) -> tuple[list[ListedFile], str]:
    folders = subfolders(root)
    parts: dict[str, list[Path]] = defaultdict(list)
    for folder in folders:
        if folder.name.lower() in PART_OF:
            parts[PART_OF[folder.name.lower()]].append(folder)
    if "train" not in parts:
        if "test" in parts and "val" in parts:
            raise DatasetError(
                f"{root} holds {', '.join(f.name for f in folders)} but no training folder.\n"
                "hint: name it `train` or `training_set`."
            )
        return _read_classes(root, None, root, skipped, merge_subfolders), "flat folder"
    for part, found in parts.items():
        if len(found) > 1:
            raise DatasetError(
                f"{root} holds two {part} folders: {', '.join(f.name for f in found)}.\n"
                "hint: keep one of them there, or give the folder above one of them."
            )
    files: list[ListedFile] = []
    for part in ("train", "val", "test"):
        for folder in parts.get(part, ()):
            files += _read_classes(folder, part, root, skipped, merge_subfolders)
    for folder in folders:
        if not is_unicode(folder.name):
            skipped.append(badly_named(folder, root))
        elif folder.name.lower() not in PART_OF:
            message = "a folder beside the training folder; its pictures belong to no part"
            skipped.append(Skipped(relative(folder, root), "not_a_picture", message))
    return files, " + ".join(f"{parts[p][0].name}/" for p in ("train", "val", "test") if p in parts)


def _read_classes(
    folder: Path, part: str | None, root: Path, skipped: list[Skipped], merge_subfolders: bool
) -> list[ListedFile]:
    class_folders = [path for path in subfolders(folder) if is_unicode(path.name)]
    loose: list[Skipped] = []
    num_loose = 0
    for entry in sorted(folder.iterdir(), key=lambda p: p.name):
        if not is_unicode(entry.name):
            loose.append(badly_named(entry, root))
        elif entry.is_file() and not is_hidden(entry.name):
            is_picture = entry.suffix.lower() in EXTENSIONS
            num_loose += is_picture
            message = "a picture outside every class folder" if is_picture else "not a picture"
            loose.append(Skipped(relative(entry, root), "not_a_picture", message))
    if not class_folders:
        lists = "".join(f", or give the list {str(p)!r}" for p in sorted(folder.glob("*.csv"))[:1])
        found = f"{num_loose} picture(s) and no folder" if num_loose else "no folder with pictures"
        raise DatasetError(
            f"No class folder in {str(folder)!r}: found {found}.\n"
            f"hint: sort the pictures into one folder per class, as in {folder.name}/cats, {folder.name}/dogs{lists}."
        )
    skipped += loose
    if not merge_subfolders:
        _refuse_ambiguous_names(folder, class_folders)
    files: list[ListedFile] = []
    for class_folder in class_folders:
        mine = [ListedFile(path, class_folder.name, part) for path in walk_pictures(class_folder, skipped, root)]
        if not mine and part in (None, "train"):
            message = "no picture in it, so there is no such class"
            skipped.append(Skipped(relative(class_folder, root), "empty_folder", message))
        files += mine
    return files


def _read_also(folder: Path, root: Path, class_names: Sequence[str], skipped: list[Skipped]) -> list[ListedFile]:
    """The pictures of a second folder. Their paths lead from the root to it: `../corrections/cat/1.jpg`."""
    if not folder.is_dir():
        raise DatasetError(f"There is no folder {str(folder)!r} to learn from as well.\nhint: {_neighbour_hint(folder)}")
    folder = folder.resolve()
    if folder == root or root in folder.parents or folder in root.parents:
        raise DatasetError(
            f"{folder} and {root} lie one in the other, so that pictures would be read twice.\n"
            "hint: keep what is to be learned from as well in a folder of its own."
        )
    mine: list[Skipped] = []
    files = _read_classes(folder, ALSO, folder, mine, merge_subfolders=True)
    for file in files:
        if file.class_name not in class_names:
            raise DatasetError(
                f"{folder} has a class {file.class_name!r} that {root} lacks.\nReceived: classes {', '.join(class_names)}.\n"
                "hint: rename the folder, or add pictures of that class there, so that it can be tested too."
            )
    skipped += [replace(s, path=_from_root(folder / s.path, root)) for s in mine]
    return [replace(f, path=_from_root(folder / f.path, root)) for f in files]


def _from_root(path: Path, root: Path) -> str:
    try:
        return Path(os.path.relpath(path, root)).as_posix()
    except ValueError:  # another drive of Windows
        return path.as_posix()


def _refuse_ambiguous_names(folder: Path, class_folders: list[Path]) -> None:
    """Refuses `front/cat` + `back/cat`: is the class `front` or `cat`? A guess would score wrong classes silently."""
    below = {class_folder.name: {f.name for f in subfolders(class_folder)} for class_folder in class_folders}
    for class_name, names in below.items():
        if {"train", "test"} <= {PART_OF.get(name.lower()) for name in names}:
            raise DatasetError(
                f"{folder.name}/{class_name} looks like a data set of its own: it holds {', '.join(sorted(names))}.\n"
                f"hint: give {str(folder / class_name)!r}."
            )
    for class_name in below:
        inside = [parent for parent, names in below.items() if class_name in names]
        if inside:
            raise DatasetError(
                f"The class name {class_name!r} occurs twice: as {folder.name}/{class_name} and as "
                f"{folder.name}/{inside[0]}/{class_name}.\n"
                f"hint: rename one of them, or, if the inner folder is part of class {inside[0]!r}, give "
                "`--merge-subfolders`."
            )
    holds_pictures = any(
        entry.is_file() and entry.suffix.lower() in EXTENSIONS
        for class_folder in class_folders
        for entry in class_folder.iterdir()
    )
    shared = [name for name, count in Counter(n for names in below.values() for n in names).items() if count > 1]
    if shared and not holds_pictures and all(below.values()):
        parents = [parent for parent, names in below.items() if shared[0] in names]
        raise DatasetError(
            f"The name {shared[0]!r} occurs under different parents: {folder.name}/{parents[0]}/{shared[0]} and "
            f"{folder.name}/{parents[1]}/{shared[0]}. Which level names the class?\n"
            f"hint: if it is the upper one ({', '.join(sorted(below)[:3])}), give `--merge-subfolders`; if it is the "
            f"lower one, merge the folders called {shared[0]!r}, or write a CSV file with the columns path,label."
        )


def _without_classes(files: list[ListedFile], exclude_classes: Sequence[str], skipped: list[Skipped]) -> list[ListedFile]:
    known = {f.class_name for f in files} | {Path(s.path).name for s in skipped if s.reason == "empty_folder"}
    for name in exclude_classes:
        if name not in known:
            close = difflib.get_close_matches(name, sorted(known), n=1)
            raise DatasetError(
                f"There is no class {name!r} to leave out.\nReceived: classes {', '.join(sorted(known))}.\n"
                f"hint: {f'did you mean {close[0]!r}?' if close else 'give the name of a class folder.'}"
            )
    left_out = [file.path for file in files if file.class_name in exclude_classes]
    skipped += [Skipped(path, "excluded", "its class is left out") for path in left_out]
    return [file for file in files if file.class_name not in exclude_classes]


def _with_groups(files: list[ListedFile], group_by: str) -> list[ListedFile]:
    try:
        pattern = re.compile(group_by)
    except re.error as error:
        raise DatasetError(f"--group-by {group_by!r} is no regular expression: {error}.") from error
    result = []
    for file in files:
        match = pattern.search(file.path)
        if match and file.group is None:
            name = match.group(1) if pattern.groups else match.group(0)
            file = ListedFile(file.path, file.class_name, file.part, name or None)
        result.append(file)
    if files and all(file.group is None for file in result):
        raise DatasetError(
            f"--group-by {group_by!r} matches none of the {len(files)} paths, such as {files[0].path!r}.\n"
            "hint: the expression is searched for in the path relative to the folder."
        )
    return result


def _class_names(files: list[ListedFile], root: Path, skipped: list[Skipped]) -> tuple[str, ...]:
    learned = sorted({f.class_name for f in files if f.part in (None, "train")})
    if not learned:
        left_out = f" {len(skipped)} file(s) were left out." if skipped else ""
        raise DatasetError(
            f"No pictures to learn from in {root}.{left_out}\n"
            f"hint: pictures end in {', '.join(sorted(EXTENSIONS)[:8])}, ... and lie in one folder per class."
        )
    for file in files:
        if file.class_name not in learned:
            alike = [name for name in learned if name.lower() == file.class_name.lower()]
            fix = f"rename it to {alike[0]!r}" if alike else f"add training pictures of {file.class_name!r}"
            raise DatasetError(
                f"The {file.part} part has a class {file.class_name!r} that the training part lacks.\n"
                f"Received: training classes {', '.join(learned)}.\n"
                f"hint: {fix}, or leave it out with `--exclude-class {file.class_name}`."
            )
    if len(learned) < 2:
        empty = [s.path for s in skipped if s.reason == "empty_folder"]
        without = f" (no picture in {', '.join(empty[:3])})" if empty else ""
        raise DatasetError(
            f"Only one class, {learned[0]!r}, in {root}{without}; a classifier needs at least two.\n"
            f"hint: {_second_class_hint(files, root)}"
        )
    alike_names: dict[str, list[str]] = defaultdict(list)
    for name in learned:
        alike_names[name.casefold()].append(name)
    for names in alike_names.values():
        if len(names) > 1:
            raise DatasetError(
                f"The class names {' and '.join(map(repr, names))} differ in upper and lower case alone.\n"
                "hint: merge the folders, or rename one."
            )
    return tuple(learned)


def _second_class_hint(files: list[ListedFile], root: Path) -> str:
    """What to do where all pictures are of one class: the classes may lie one folder further down."""
    folders = [PurePosixPath(file.path).parts[:-1] for file in files]
    depth = 1 if files[0].part is None else 2
    inner = sorted({parts[depth] for parts in folders if len(parts) > depth})
    if len(inner) > 1 or any(name.lower() in PART_OF for name in inner):
        inside = f"{', '.join(inner[:3])}{', ...' if len(inner) > 3 else ''}"
        return f"it holds {inside}; if these are what you mean, give {str(root.joinpath(*folders[0][:depth]))!r}."
    return "add a folder with pictures of something else."


def _neighbour_hint(path: Path) -> str:
    try:
        names = [p.name for p in path.parent.iterdir() if not is_hidden(p.name)]
    except OSError:
        return "check the path."
    close = difflib.get_close_matches(path.name, names, n=1)
    return f"did you mean {str(path.with_name(close[0]))!r}?" if close else "check the path."
