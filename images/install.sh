#!/bin/sh
# Install the user's libraries where the image's Python finds them, without dead weight and with bytecode.
# Runs inside the build; /mnt holds what is only there for this step, /run/secrets what stays nowhere.
set -eu
began=$(mktemp)
listed=/mnt/dependencies/requirements.txt
if [ -s /run/secrets/ca ]; then
    export SSL_CERT_FILE=/run/secrets/ca
fi
if [ -s /run/secrets/netrc ]; then
    export NETRC=/run/secrets/netrc
fi
# Everything that is needed is listed with its hash, so nothing is resolved, and no index is trusted with a choice: where
# the files come from decides nothing, and no part of it gets into a layer. All indexes are one pool, as for pip.
set -- --no-deps --index-strategy unsafe-best-match
if [ -s /run/secrets/indexes ]; then
    UV_INSECURE_HOST=$(sed -n 's/^# trusted-host //p' /run/secrets/indexes | tr '\n' ' ')
    export UV_INSECURE_HOST
    set -- "$@" --requirement /run/secrets/indexes
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
if [ -s "$listed" ]; then
    # The cache is another file system, so links are impossible: say so, or uv warns.
    /mnt/uv/bin/uv pip install "$@" \
        --system --break-system-packages --python "$(command -v python3)" \
        --cache-dir /mnt/uv-cache --link-mode copy --no-progress \
        --requirement "$listed"
fi
rm -f /tmp/uv-*.lock
site=$(python3 -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
python3 /mnt/tools/trim.py "$site"
# unchecked-hash: bytecode stays valid whatever times the layers give the files; Lambda could never write it again.
# A library may ship files for other Pythons that don't compile here, so a failure is not ours to judge.
python3 -m compileall -q -j 0 --invalidation-mode unchecked-hash "$site" >/dev/null || true
# A library may have been packed on a machine that kept its files to itself; in Lambda we are nobody's user.
find "$site" \( ! -perm -004 -o -type d ! -perm -005 \) -exec chmod a+rX {} +
# The time of the build is nobody's matter: the same libraries are the same files. What the base brought is let alone,
# or this layer would have all of it again.
find "$site" -newer "$began" -exec touch --no-dereference --date=@0 {} +
rm "$began"
