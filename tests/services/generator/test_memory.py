"""Memory between two updates stays, and is given back at the end."""

import subprocess
import sys

PROGRAM = """
import resource
import numpy as np
from pathlib import Path
from services.generator.memory import held_memory

PAGES = 64 * 1024 * 1024 // 4096

def resident():
    return int(Path("/proc/self/statm").read_text().split()[1])

def faults_of_ten_arrays():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(10):
        np.ones(64 * 1024 * 1024, np.uint8)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

outside = faults_of_ten_arrays()
at_first = resident()
with held_memory():
    within = faults_of_ten_arrays()
    assert resident() - at_first > PAGES / 2, "nothing was held"
assert resident() - at_first < PAGES / 4, "not given back"
assert within < outside / 3, (within, outside)
"""


def test_freed_memory_is_used_again_and_given_back_at_the_end() -> None:
    result = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=60, check=False)
    assert result.returncode == 0, result.stderr
