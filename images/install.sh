#!/bin/sh
# Install the user's libraries where the image's Python finds them, without dead weight and with bytecode.
# Runs inside the build; /mnt holds what is only there for this step, /run/secrets what stays nowhere.
set -eu
began=$(mktemp)
listed=/mnt/dependencies/requirements.txt
if [ -s /run/secrets/ca ]; then
    export SSL_CERT_FILE=/run/secrets/ca PIP_CERT=/run/secrets/ca
fi
if [ -s /run/secrets/netrc ]; then
    export NETRC=/run/secrets/netrc
fi
# Everything that is needed is listed with its hash, so nothing is resolved, and no index is trusted with a choice: where
# the files come from decides nothing, and no part of it gets into a layer. All indexes are one pool, as for pip.
set -- --no-deps --index-strategy unsafe-best-match
if [ -s /run/secrets/indexes ]; then
    set -- "$@" --config-file /run/secrets/indexes
fi
if [ -d /mnt/dependencies/wheels ]; then
    set -- "$@" --find-links /mnt/dependencies/wheels
fi
# What was made for this build has no hash: its sources decide, and another day's wheel may have other bytes. uv must not
# take it for the one of the same name that it has in its cache.
made=$(sed -n 's/^\([a-z0-9-]*\) @ file:.*/\1/p' "$listed")
if [ -z "$made" ]; then
    set -- "$@" --require-hashes
fi
for name in $made; do
    set -- "$@" --refresh-package "$name"
done
# uv is fetched by the first build on this machine, and kept beside what it fetches itself.
uv=/mnt/kept/uv-$(sha256sum /mnt/tools/uv.txt | cut -c 1-16)-$(uname -m)
if [ -s "$listed" ] && ! "$uv/bin/uv" --version >/dev/null 2>&1; then
    if [ -s /run/secrets/pip ]; then
        export PIP_CONFIG_FILE=/run/secrets/pip
    fi
    fetched=$(mktemp -d /mnt/kept/fetched-XXXXXX)
    pip install --quiet --no-cache-dir --no-compile --only-binary :all: --root-user-action ignore \
        --target "$fetched/uv" --requirement /mnt/tools/uv.txt >"$fetched/said" 2>&1 || {
        echo "error: uv, which thampi installs the libraries with, can't be installed:"
        cat "$fetched/said"
        rm -rf "$fetched"
        exit 1
    } >&2
    # Another build may have done the same meanwhile: one of them stays.
    mv -T "$fetched/uv" "$uv" 2>/dev/null || "$uv/bin/uv" --version >/dev/null || { rm -rf "$uv"; mv -T "$fetched/uv" "$uv"; }
    rm -rf "$fetched"
fi
if [ -s "$listed" ]; then
    # The cache is another file system, so links are impossible: say so, or uv warns.
    "$uv/bin/uv" pip install "$@" \
        --system --break-system-packages --python "$(command -v python3)" \
        --cache-dir /mnt/uv-cache --link-mode copy --no-progress \
        --requirement "$listed"
fi
rm -f /tmp/uv-*.lock
site=$(python3 -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
python3 /mnt/tools/trim.py "$site"
python3 /mnt/tools/bytecode.py "$site" /mnt/kept/bytecode
# A library may have been packed on a machine that kept its files to itself; in Lambda we are nobody's user.
find "$site" \( ! -perm -004 -o -type d ! -perm -005 \) -exec chmod a+rX {} +
# The time of the build is nobody's matter: the same libraries are the same files. What the base brought is let alone,
# or this layer would have all of it again.
find "$site" -newer "$began" -exec touch --no-dereference --date=@0 {} +
rm "$began"
