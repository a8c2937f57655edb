"""`down`: stop exactly what `up` started."""

from collections.abc import Mapping

from deploy.embedded.console import say
from deploy.embedded.plan import folder_from
from deploy.embedded.supervision import stop


def down(environ: Mapping[str, str]) -> None:
    """Stop the platform of SYNTHMRI_DATA_DIR and return when its processes are gone; the data stay.

    Raises:
        CannotStart: an `up` is at work in the folder, or a process does not end.
    """
    folder = folder_from(environ)
    if not folder.is_running():
        say(f"SynthMRI is not running (data folder {folder.root}).")
        return
    with folder.alone():
        stop(folder)
    say(f"SynthMRI has stopped; its data stay in {folder.root}.")
