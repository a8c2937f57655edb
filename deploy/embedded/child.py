"""Becomes the program it is given, after two promises to supervisord.

    python -I -S child.py <run folder> <name> <program> [arguments...]

1. The program dies with supervisord: the kernel sends it SIGKILL when its parent ends, so that a `kill -9` of
   supervisord leaves no orphan on a port (Linux; elsewhere the promise is dropped). It survives exec, see prctl(2).
2. A program that keeps dying is started every two seconds for ever: supervisord's own back-off either gives up
   or grows without limit, so it is switched off (startsecs=0) and the pause is made here.

Only the standard library, and little of it: this runs once per process start.
"""

import ctypes
import os
import signal
import sys
import time

PR_SET_PDEATHSIG = 1  # <linux/prctl.h>
RESTART_PAUSE_S = 2.0


def die_with_parent(pid_file: str) -> None:
    """Ask the kernel for SIGKILL when supervisord ends, and leave at once if it has ended already."""
    if not sys.platform.startswith("linux"):
        return
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    with open(pid_file) as file:
        supervisor = int(file.read())
    if os.getppid() != supervisor:
        sys.exit("supervisord ended while this process was starting")


def pause_after_quick_death(marker: str) -> None:
    """Sleep if the last start, the time of `marker`, is less than `RESTART_PAUSE_S` ago; then set `marker` to now."""
    try:
        age_s = time.time() - os.stat(marker).st_mtime
    except FileNotFoundError:
        age_s = RESTART_PAUSE_S
    if 0 <= age_s < RESTART_PAUSE_S:
        time.sleep(RESTART_PAUSE_S)
    with open(marker, "w"):
        os.utime(marker)


def main() -> None:
    """Keep both promises, then exec the program."""
    run_folder, name, *command = sys.argv[1:]
    die_with_parent(os.path.join(run_folder, "supervisord.pid"))
    pause_after_quick_death(os.path.join(run_folder, f"{name}.started"))
    try:
        os.execv(command[0], command)  # noqa: S606 no shell is meant
    except OSError as error:
        sys.exit(f"cannot run {command[0]}: {error.strerror}")


if __name__ == "__main__":
    main()
