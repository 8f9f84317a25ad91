"""The notebooks: what the scripts make, quiet, small, and running from top to bottom, on photographs as well."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sys
import types
from pathlib import Path
from typing import Any

import nbformat
import numpy as np
import pytest
from PIL import Image

ROOT = Path(__file__).parent.parent
SCRIPTS = ["cnn.py", "transfer_learning.py"]


def _load_build() -> Any:
    spec = importlib.util.spec_from_file_location("build_notebooks", ROOT / "notebooks" / "build.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


build = _load_build()


def script(name: str) -> Path:
    return ROOT / "notebooks" / "src" / name


def committed(name: str) -> Any:
    return nbformat.read(build.NOTEBOOKS[script(name)], as_version=4)


def cell_with(notebook: Any, text: str) -> Any:
    (found,) = [cell for cell in notebook.cells if cell.cell_type == "code" and text in cell.source]
    return found


def change(notebook: Any, old: str, new: str) -> None:
    cell = cell_with(notebook, old)
    cell.source = cell.source.replace(old, new)


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_notebook_is_what_its_script_makes(name):
    assert build.sources(committed(name)) == build.sources(build.notebook_of(script(name))), "see notebooks/build.py"


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_committed_notebook_was_run_in_order_and_is_quiet_and_small(name):
    notebook = committed(name)
    nbformat.validate(notebook)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    assert build.problems(notebook) == []
    assert build.NOTEBOOKS[script(name)].stat().st_size < 2_000_000


def test_a_difference_is_found_and_its_remedy_said(monkeypatch, tmp_path, capsys):
    written = tmp_path / "cnn.ipynb"
    shutil.copyfile(build.NOTEBOOKS[script("cnn.py")], written)
    monkeypatch.setattr(build, "NOTEBOOKS", {script("cnn.py"): written})
    assert build.main(["--check"]) == 0
    notebook = nbformat.read(written, as_version=4)
    notebook.cells[0].source += "\nadded by hand"
    nbformat.write(notebook, written)
    assert build.main(["--check"]) == 1
    assert "--text" in capsys.readouterr().err
    assert build.main(["--text"]) == 0 and build.main(["--check"]) == 0
    notebook = nbformat.read(written, as_version=4)
    assert build.problems(notebook) == [] and notebook.cells[2].outputs == committed("cnn.py").cells[2].outputs
    cell_with(notebook, "SEED = 0").source += "\nSEED = 1"
    nbformat.write(notebook, written)
    assert build.main(["--text"]) == 1 and build.main(["--check"]) == 1
    assert "make notebooks" in capsys.readouterr().err


def test_what_must_not_be_in_an_output_is_found():
    outputs = [
        nbformat.v4.new_output("stream", name="stderr", text="a warning"),
        nbformat.v4.new_output("stream", name="stdout", text="WARNING:tensorflow: retracing"),
        nbformat.v4.new_output("display_data", data={"text/plain": str(Path.home() / "secret.jpg")}),
        nbformat.v4.new_output("display_data", data={"application/vnd.jupyter.widget-view+json": {}}),
        nbformat.v4.new_output("error", ename="ValueError", evalue="no", traceback=[]),
    ]
    cells = [nbformat.v4.new_code_cell(outputs=[output]) for output in outputs]
    assert len(build.problems(nbformat.v4.new_notebook(cells=cells))) == len(outputs)


def test_the_table_has_the_last_run_of_each_seed_on_the_machine_that_measured_last(tmp_path):
    path = tmp_path / "main-job.csv"
    path.write_text(
        "what,dataset,seed,seconds,val_accuracy,test_accuracy,num_test,machine,commit,train_accuracy,num_train,num_val\n"
        "classic,cats_dogs,0,60,0.5,0.5,2000,old machine,aaa,,,\n"
        "classic,cats_dogs,0,500,0.7,0.69,2000,2 cores,aaa,0.9,1700,300\n"
        "classic,cats_dogs,0,600,0.8,0.79,2000,2 cores,bbb,0.9,1700,300\n"
        "classic,cats_dogs,1,660,0.81,0.8,2000,2 cores,bbb,,,\n"
        "classic,cifar10,1,660,0.81,0.8,2000,2 cores,bbb,,,\n"
        '"transfer, empty cache",cats_dogs,0,30,0.987,0.9885,2000,2 cores,bbb,1.0,2000,2000\n'
    )
    table = build.measured_table(path).replace("\xa0", " ")
    rows = [line for line in table.splitlines() if line.startswith("| `")]
    assert len(rows) == 3 and "old machine" not in table
    assert rows[0].startswith(
        "| `classic` | 0 | 90.0 % (88.5–91.3 %, n = 1,700) | 80.0 % (75.1–84.1 %, n = 300) | 79.0 % (77.2–80.7 %,"
    )
    assert rows[1].startswith("| `classic` | 1 | – | 81.0 % | 80.0 %") and "| 11.0 |" in rows[1]
    assert "98.9 % (98.3–99.2 %, n = 2,000) | 0.5 |" in rows[2] or "98.8 % (98.3–99.2 %, n = 2,000) | 0.5 |" in rows[2]


@pytest.fixture
def setup_source() -> str:
    """The setup cell up to where it imports the package."""
    source = cell_with(build.notebook_of(script("cnn.py")), "SOURCE = ").source
    return source.partition("import fieldguide\n")[0]


@pytest.fixture
def installs(monkeypatch) -> list[list[str]]:
    """The package seems to be missing; what would be run is kept instead of run."""
    commands: list[list[str]] = []
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "fieldguide" else find_spec(name))
    monkeypatch.setattr(subprocess, "run", lambda command, check: commands.append(command))
    return commands


def test_the_setup_installs_from_the_clone_around_the_notebook(setup_source, installs, monkeypatch):
    monkeypatch.chdir(ROOT / "notebooks")
    exec(setup_source, {})
    assert installs == [[sys.executable, "-m", "pip", "install", "--quiet", str(ROOT)]]


def test_the_setup_installs_from_the_source_that_was_filled_in(setup_source, installs, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(RuntimeError, match="fill in SOURCE"):
        exec(setup_source, {})
    exec(setup_source.replace('SOURCE = ""', 'SOURCE = "fieldguide.whl"'), {})
    assert [command[-1] for command in installs] == ["fieldguide.whl"]


def test_the_setup_asks_for_a_restart_where_an_older_pillow_is_loaded(setup_source, monkeypatch):
    monkeypatch.setitem(sys.modules, "PIL", types.SimpleNamespace(__version__="11.3.0"))
    with pytest.raises(RuntimeError, match=r"An older pillow is loaded\. Restart the kernel once"):
        exec(setup_source, {})


def test_in_colab_a_zip_is_uploaded_and_unpacked(monkeypatch, tmp_path, make_folder):
    shutil.make_archive(str(tmp_path / "mine"), "zip", make_folder({"training_set/red": 1}).parent, "dataset")
    uploaded = types.SimpleNamespace(upload=lambda: {str(tmp_path / "mine.zip"): b""})
    monkeypatch.setitem(sys.modules, "google.colab", types.SimpleNamespace(files=uploaded))
    monkeypatch.chdir(tmp_path)
    names = {"DATASET": "pets", "Path": Path, "shutil": shutil, "sys": sys}
    exec(cell_with(build.notebook_of(script("cnn.py")), "google.colab").source, names)
    assert [path.name for path in Path(names["DATASET"]).iterdir()] == ["training_set"]


def photograph(kind: str, seed: int) -> Image.Image:
    """A picture with light, texture and a thing in it: a round one or a striped one, anywhere and of any size."""
    rng = np.random.default_rng(seed)
    height, width = rng.integers(90, 170, 2)
    y, x = np.mgrid[0:height, 0:width]
    pixels = np.zeros((height, width, 3))
    for scale in (2, 6, 18):
        coarse = rng.normal(0, 14, (height // scale + 2, width // scale + 2, 3))
        pixels += np.kron(coarse, np.ones((scale, scale, 1)))[:height, :width]
    pixels += rng.uniform(60, 150, 3) + rng.uniform(-40, 40) * (y / height)[..., None]
    center_y, center_x = rng.uniform(0.3, 0.7) * height, rng.uniform(0.3, 0.7) * width
    radius = rng.uniform(0.15, 0.3) * min(height, width)
    inside = (y - center_y) ** 2 + (x - center_x) ** 2 < radius**2
    if kind == "striped":
        inside &= ((x + y) // max(3, int(radius / 3))) % 2 == 0
    pixels[inside] = pixels[inside] * 0.3 + rng.uniform(120, 255, 3) * 0.7
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))


@pytest.fixture
def photographs(tmp_path) -> Path:
    root = tmp_path / "photographs"
    for part, count in (("training_set", 60), ("test_set", 20)):
        for number, kind in enumerate(("round", "striped")):
            (root / part / kind).mkdir(parents=True)
            for i in range(count):
                path = root / part / kind / f"{kind}.{part}.{i}.jpg"
                photograph(kind, seed=1000 * number + i + (500 if part == "test_set" else 0)).save(path, quality=88)
    return root


@pytest.mark.timeout(900)
def test_the_cnn_notebook_runs_on_photographs_in_a_short_version(photographs):
    notebook = build.notebook_of(script("cnn.py"))
    # As it stands but for size and length of training, which a test of the way through does not need.
    change(notebook, 'DATASET = "digits"  #', f"DATASET = {str(photographs)!r}  #")
    change(notebook, "(32, 32) if is_digits else (96, 96)", "(32, 32)")
    change(notebook, "EPOCHS = 15 if is_digits else 40", "EPOCHS = 3")
    change(notebook, "max_rotation_degrees=10.0\n)\nclassic", "max_rotation_degrees=10.0, min_steps=0\n)\nclassic")
    build.execute(notebook)
    assert [problem for problem in build.problems(notebook) if "the path" not in problem] == []


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("name", SCRIPTS)
def test_a_notebook_runs_on_photographs_after_one_line_was_changed(name, photographs):
    notebook = build.notebook_of(script(name))
    change(notebook, 'DATASET = "digits"  #', f"DATASET = {str(photographs)!r}  #")
    build.execute(notebook)
    assert [problem for problem in build.problems(notebook) if "the path" not in problem] == []


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", SCRIPTS)
def test_a_notebook_runs_from_top_to_bottom(name):
    notebook = build.notebook_of(script(name))
    build.execute(notebook)
    assert build.problems(notebook) == []


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_stop_button_ends_training_with_the_best_so_far(tmp_path, make_folder, shared_cache):
    from jupyter_client.manager import start_new_kernel

    folder = make_folder({f"training_set/{hue}": 40 for hue in ("red", "blue")} | {"test_set/red": 4, "test_set/blue": 4})
    manager, client = start_new_kernel(kernel_name="python3", cwd=str(tmp_path))
    try:
        code = (
            "import fieldguide\n"
            f"recipe = fieldguide.Classic(image_size=(32, 32), epochs=100_000, warmup_epochs=1)\n"
            f"run = fieldguide.train({str(folder)!r}, recipe=recipe, out='run')\n"
            "print('interrupted:', run.interrupted, '; test:', run.scores['test']['num_images'])"
        )
        printed: list[str] = []
        has_stopped = False

        def watch(message: Any) -> None:
            nonlocal has_stopped
            content = message["content"]
            printed.append(content.get("text", ""))
            if not has_stopped and "val accuracy" in content.get("data", {}).get("text/plain", ""):
                has_stopped = True
                manager.interrupt_kernel()

        reply = client.execute_interactive(code, output_hook=watch, timeout=600)
        assert reply["content"]["status"] == "ok"
        assert "interrupted: SIGINT ; test: 8" in "".join(printed)
        assert client.execute_interactive("1 + 1", output_hook=lambda message: None, timeout=60)["content"]["status"] == "ok"
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
