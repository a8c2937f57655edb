#!/bin/sh
# Resolve pyproject.toml into requirements/*.lock: hashes, no URL, one file for Python 3.11 and 3.12 on every system.
# "all" is what `make setup` installs; the others are what one container image needs, "radiomics" an extra to either.
set -eu
uv=${UV:-uv}

compile() {
    name=$1
    shift
    flags=
    for word in "$@"; do
        case $word in
        --*) flags="$flags $word" ;;
        *) flags="$flags --extra $word" ;;
        esac
    done
    # shellcheck disable=SC2086 # the flags are meant to be split
    "$uv" pip compile pyproject.toml $flags --quiet --universal --python-version 3.11 --generate-hashes \
        --no-emit-index-url --no-emit-find-links --custom-compile-command 'make lock' -o "requirements/$name.lock" ${UPGRADE:+--upgrade}
}

mkdir -p requirements
compile all gateway preprocess generator evaluator classifier embedded dev
# The images run the very versions that the tests ran.
for service in gateway preprocess generator evaluator classifier; do
    compile "$service" "$service" --constraint=requirements/all.lock
done
# What `make setup EXTRAS=...` adds: more packages, none of them in another version.
compile radiomics radiomics --constraint=requirements/all.lock

if grep -nE '://|^ *-(i|f|-index|-extra-index|-find-links)' requirements/*.lock; then
    echo "A lock file names a server; it must not." >&2
    exit 1
fi
