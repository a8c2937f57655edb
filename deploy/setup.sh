#!/bin/sh
# Make the virtual environment $1 with everything in requirements/all.lock (hashes checked) and the project, editable.
# Safe to run again. PYTHON names the interpreter; without it the first Python 3.11 or 3.12 on this machine is taken.
set -eu
venv=$1

fail() {
    printf '%s\n' "$1" >&2
    exit 1
}

suits() {
    "$1" -c 'import sys; sys.exit(sys.version_info[:2] not in ((3, 11), (3, 12)))' 2>/dev/null
}

find_python() {
    if [ -n "${PYTHON:-}" ]; then
        suits "$PYTHON" || fail "SynthMRI needs Python 3.11 or 3.12, and PYTHON=$PYTHON is not; name another one."
        echo "$PYTHON"
        return
    fi
    for candidate in python3 python3.12 python3.11; do
        if suits "$candidate"; then
            echo "$candidate"
            return
        fi
    done
    if command -v uv >/dev/null; then
        uv python find --no-python-downloads '>=3.11,<3.13' 2>/dev/null && return
    fi
    fail "SynthMRI needs Python 3.11 or 3.12 and found neither; install one, or name it: make setup PYTHON=/path/to/python3.12"
}

if ! suits "$venv/bin/python"; then
    python=$(find_python)
    echo "Making $venv with $("$python" --version)"
    if command -v uv >/dev/null; then
        uv venv --quiet --clear --python "$python" "$venv"
    else
        "$python" -m venv --clear "$venv" || fail "$python cannot make a virtual environment; on Debian: apt-get install python3-venv"
    fi
fi

uv=$(command -v uv || echo "$venv/bin/uv")
if [ ! -x "$uv" ]; then
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check uv
fi

echo "Installing the locked packages (several GB the first time: torch and tensorflow)"
"$uv" pip install --quiet --compile-bytecode --python "$venv/bin/python" --require-hashes -r requirements/all.lock
"$uv" pip install --quiet --python "$venv/bin/python" --no-deps --editable .
# All is compiled now, or fourteen processes would each compile the same modules: at the first start, and at every start
# where PYTHONDONTWRITEBYTECODE is set.
"$venv/bin/python" -m compileall -q -j 0 deploy gateway services shared
