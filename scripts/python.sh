#!/usr/bin/env bash
# Makes .venv, with thampi from this checkout and what its tests need, on a machine that may not even have Python.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

enough() { "$1" -c 'import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; }

if ! enough python3; then
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
        echo "python: installing python3 and python3-venv" >&2
        apt-get -qq update
        DEBIAN_FRONTEND=noninteractive apt-get -qq -y --no-install-recommends install python3 python3-venv ca-certificates >/dev/null
    fi
    enough python3 || { echo "python: thampi needs Python 3.11 or newer, with venv: install it first" >&2; exit 1; }
fi

# The file `made` comes last: a half-made .venv is no .venv to make.
rm -rf .venv .venv-uv
trap 'rm -rf .venv-uv' EXIT
echo "python: making .venv" >&2
python3 -m venv .venv-uv
.venv-uv/bin/python -m pip install --quiet --disable-pip-version-check uv
.venv-uv/bin/uv venv --quiet --seed --python .venv-uv/bin/python .venv
.venv-uv/bin/uv pip install --quiet --python .venv/bin/python --editable '.[test]'
touch .venv/made
