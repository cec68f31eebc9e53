"""The package as others get it: imports, exports, wheel, examples, README."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

import bayesfit as bf

ROOT = Path(__file__).resolve().parents[1]
HEAVY = ("pandas", "pymc", "arviz", "pytensor", "xarray", "scipy", "matplotlib", "nutpie")


def run(code: str) -> str:
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=True)
    return done.stdout


def test_import_and_laws_load_nothing_heavy() -> None:
    code = "import sys, json, bayesfit as bf; bf.law('chinchilla').latex; bf.laws(); print(json.dumps([*sys.modules]))"
    assert not set(HEAVY) & set(json.loads(run(code)))


def test_every_public_name_loads_and_is_documented() -> None:
    for name in bf.__all__:
        value = getattr(bf, name)
        assert len((value.__doc__ or "").strip()) > 20, name
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        _ = bf.nothing
    assert set(bf.__all__) <= set(dir(bf))


def test_no_public_name_is_hidden_by_a_module() -> None:
    """Importing ``bayesfit.x`` would put the module `x` in place of a public function `x`."""
    modules = {path.stem for path in Path(bf.__file__).parent.glob("*.py")}
    assert not modules & set(bf.__all__)


def test_wheel_installs_and_lists_the_models(tmp_path: Path) -> None:
    """Built without network, installed into a new environment that borrows the dependencies of this one."""
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        check=True,
    )
    (wheel,) = tmp_path.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    cards = {f"bayesfit/models/{path.parent.name}/{path.name}" for path in (ROOT / "models").glob("*/*.toml")}
    assert cards <= set(names)
    assert {"bayesfit/py.typed", "bayesfit/datasets/open_models.csv"} <= set(names)
    assert not [name for name in names if name.startswith(("tests/", "models/"))]
    # with pip, but the dependencies borrowed from this environment instead of downloaded again
    venv.create(tmp_path / "env", with_pip=True)
    place = next((tmp_path / "env").glob("lib/python*/site-packages"))
    (place / "borrowed.pth").write_text("\n".join(path for path in sys.path if path.endswith("site-packages")))
    pip = [tmp_path / "env/bin/python", "-m", "pip", "install", "--quiet", "--no-index", "--no-deps"]
    subprocess.run([*pip, "--force-reinstall", wheel], cwd=tmp_path, capture_output=True, check=True)
    where = "import bayesfit.catalog as c; print(c.models_folder())"
    folder = subprocess.run(
        [tmp_path / "env/bin/python", "-c", where], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert Path(folder.stdout.strip()) == place / "bayesfit" / "models"
    done = subprocess.run(
        [tmp_path / "env/bin/bayesfit", "laws", "--json"], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert {entry["id"] for entry in json.loads(done.stdout)} == {entry.id for entry in bf.laws()}


def test_the_lock_has_hashes_and_no_addresses() -> None:
    lock = (ROOT / "requirements.lock").read_text(encoding="utf-8")
    assert "://" not in lock
    pins = re.findall(r"^([a-z0-9._-]+)==", lock, re.MULTILINE)
    assert {"pymc", "arviz", "nutpie", "pytest", "hatchling"} <= set(pins)
    assert lock.count("--hash=sha256:") >= len(pins)


@pytest.mark.xdist_group("together")
def test_grouped_tests_keep_to_one_process(request: pytest.FixtureRequest) -> None:
    """Where they do not, every fit that a group shares is made twice, and nothing else tells."""
    if not getattr(request.config.option, "loadgroup", False):
        pytest.skip("tests are not shared out over processes by group")
    # by this ending tests are shared out
    assert request.node.nodeid.endswith("@together")


def test_the_version_is_said_once() -> None:
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["version"] == bf.__version__


def test_data_sets_and_plots_need_no_import_of_their_own() -> None:
    script = "import bayesfit as bf; print(len(bf.datasets.tasks()) > 1, bf.plots.plot_band.__name__)"
    assert run(script).split() == ["True", "plot_band"]
