"""Save a fit as one netCDF file, and load it on any machine.

The file holds the card, the runs, the draws and where they came from. Nothing in it is executed:
laws are texts of the formula language, arrays are numbers.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from bayesfit.card_file import card_toml, read_card
from bayesfit.errors import BayesfitError, StoredFitError
from bayesfit.pooling import Pooling

if TYPE_CHECKING:
    from bayesfit.fitting import Fit

#: Raised by one whenever an older version could not read the file.
FORMAT = 1
#: What reading a damaged HDF5 file raises, depending on which byte is wrong.
_DAMAGE = (ArithmeticError, AttributeError, LookupError, MemoryError, OSError, RuntimeError, TypeError, ValueError)
_DRAWS = ("posterior", "latent", "sample_stats")
_ATTRIBUTES = ("bayesfit_format", "card", "pooling", "provenance", "content_sha256")


def save(fit: Fit, path: str | Path) -> Path:
    """Save a fit.

    The file is written under a temporary name in the same folder and then renamed, so that a kill
    at any moment leaves the old file or the new one.

    Parameters
    ----------
    fit
        The fit.
    path
        Where to; ``.nc`` by custom.

    Returns
    -------
    pathlib.Path
        The file.
    """
    path = Path(path)
    if not path.parent.is_dir():
        raise StoredFitError(f"there is no folder {path.parent} to save {path.name} in; make it first")
    groups = {name: fit.idata[name].to_dataset() for name in _DRAWS} | {"runs": fit.runs.to_dataset()}
    tree = xr.DataTree.from_dict({name: _storable(data) for name, data in groups.items()})
    tree.attrs = {
        "bayesfit_format": FORMAT,
        "card": card_toml(fit.law),
        "pooling": json.dumps(
            {"by": list(fit.pooling.by), "how": dict(fit.pooling.how), "checkpoints": fit.pooling.checkpoints}
        ),
        "provenance": json.dumps(dict(fit.provenance)),
    }
    tree.attrs["content_sha256"] = _content_sha256(tree)
    with NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", suffix=".part", delete=False) as file:
        temporary = Path(file.name)
    try:
        tree.to_netcdf(temporary, engine="h5netcdf")
        with temporary.open("rb+") as written:
            os.fsync(written.fileno())
        # temporary files are private; the fit gets the rights that any new file would have
        mask = os.umask(0)
        os.umask(mask)
        temporary.chmod(0o666 & ~mask)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    return path


def load(path: str | Path) -> Fit:
    """Load a fit.

    Parameters
    ----------
    path
        A file that `save` wrote.

    Returns
    -------
    Fit
        As it was saved; the original table and card are not needed.

    Raises
    ------
    StoredFitError
        For a file that is missing, truncated, of another program, of a newer version, or changed
        since it was saved.
    """
    from bayesfit.fitting import Fit
    from bayesfit.runs import Runs

    path = Path(path)
    tree = _read(path)
    missing = [name for name in _ATTRIBUTES if name not in tree.attrs]
    if "bayesfit_format" in missing:
        raise StoredFitError(f"{path} is a netCDF file of another program, not a saved fit")
    found = int(tree.attrs["bayesfit_format"])
    if found > FORMAT:
        raise StoredFitError(
            f"{path} was saved in format {found} and this version reads up to {FORMAT}; upgrade bayesfit to load it"
        )
    missing += [name for name in (*_DRAWS, "runs") if name not in tree.children]
    if missing:
        raise StoredFitError(f"{path} is not whole: it lacks {', '.join(missing)}; fit again, or take a backup")
    if _content_sha256(tree) != tree.attrs["content_sha256"]:
        raise StoredFitError(
            f"{path} was changed after it was saved: its content does not match its checksum; fit again, or take a "
            f"backup"
        )
    try:
        pooling = json.loads(tree.attrs["pooling"])
        return Fit(
            law=read_card(tree.attrs["card"], origin=f"the card in {path}"),
            runs=Runs.from_dataset(tree["runs"].to_dataset()),
            pooling=Pooling(by=tuple(pooling["by"]), how=pooling["how"], checkpoints=pooling.get("checkpoints", "")),
            idata=xr.DataTree.from_dict({name: tree[name].to_dataset() for name in _DRAWS}),
            provenance=json.loads(tree.attrs["provenance"]),
        )
    except (BayesfitError, KeyError, ValueError) as error:
        raise StoredFitError(f"{path} holds something this version cannot use: {error}") from error


def _read(path: Path) -> xr.DataTree:
    if not path.is_file():
        raise StoredFitError(f"there is no file {path}")
    with path.open("rb") as file:
        if not file.read(8).startswith(b"\x89HDF\r\n\x1a\n"):
            raise StoredFitError(f"{path} is not a saved fit: it is not a netCDF-4 file")
    try:
        with xr.open_datatree(path, engine="h5netcdf") as opened:
            return opened.load()
    except _DAMAGE as error:
        raise StoredFitError(f"{path} is damaged or cut short: {error}; fit again, or take a backup") from error


def _storable(data: xr.Dataset) -> xr.Dataset:
    """Return the dataset with attributes and values that netCDF can hold: booleans become 0 and 1."""
    changed = {name: array.astype("int8") for name, array in data.data_vars.items() if array.dtype == bool}
    stored = data.assign(changed)
    stored.attrs = {
        key: value if isinstance(value, str | int | float) else str(value) for key, value in data.attrs.items()
    }
    return stored


def _content_sha256(tree: xr.DataTree) -> str:
    """Return a hash of every number, name and text of the file."""
    digest = hashlib.sha256()

    def add(*texts: object) -> None:
        for text in texts:
            # damaged text may hold what is no character; it must hash, to something else
            encoded = str(text).encode(errors="surrogatepass")
            digest.update(len(encoded).to_bytes(8, "little") + encoded)

    for key in sorted({str(key) for key in tree.attrs} - {"content_sha256"}):
        add(key, tree.attrs[key])
    for group in sorted(map(str, tree.children)):
        data = tree[group].to_dataset()
        _add_attributes(add, data.attrs)
        for name in sorted(str(name) for name in data.variables):
            variable = data.variables[name]
            add(group, name, variable.dims, variable.shape)
            values = np.asarray(variable.values)
            if values.dtype.kind in "OUST":
                add(*values.ravel())
            else:
                # one form for integers and one for reals, whatever width the file chose
                form = "<f8" if values.dtype.kind == "f" else "<i8"
                digest.update(np.ascontiguousarray(values, dtype=form).tobytes())
    return digest.hexdigest()


def _add_attributes(add: Any, attributes: Mapping[Any, Any]) -> None:
    for key in sorted(str(key) for key in attributes):
        add(key, attributes[key])
