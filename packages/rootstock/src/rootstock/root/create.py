"""Making a root."""

from __future__ import annotations

from pathlib import Path

from rootstock.root.errors import RootError
from rootstock.root.files import write_whole
from rootstock.root.layout import Layout, open_root
from rootstock.root.manifest import Manifest, read_manifest


def create_root(folder: Path) -> tuple[Layout, bool]:
    """Make a root, or complete one that is there; return its layout and whether it is new.

    Raises RootError for a folder that holds something else, or cannot be written to.
    """
    layout = Layout(folder.expanduser().absolute())
    try:
        if layout.manifest.is_file():
            layout = open_root(layout.folder)
            read_manifest(layout)
            new = False
        else:
            new = True
            # A manifest that was lost: environments are found again by their own records.
            ours = layout.environments.is_dir() and layout.envs.is_dir()
            if layout.folder.exists() and any(layout.folder.iterdir()) and not ours:
                raise RootError(
                    f"{layout.folder} holds something else; name a folder that is empty or not "
                    "there yet"
                )
        for path in layout.folders():
            path.mkdir(parents=True, exist_ok=True)
        if new:
            write_whole(layout.manifest, Manifest().to_text())
            write_whole(layout.manifest, read_manifest(layout).to_text())
    except OSError as error:
        raise RootError(
            f"{layout.folder} cannot be made: {error.strerror} ({error.filename})"
        ) from error
    return layout, new
