#!/bin/sh
# Install the user's libraries where the image's Python finds them, without dead weight and with bytecode.
# Runs inside the build; /mnt holds what is only there for this step.
set -eu
if [ -s /run/secrets/ca ]; then
    export SSL_CERT_FILE=/run/secrets/ca
fi
# The file is pip's, so it means what pip takes it for: all its indexes are one pool, and `--pre`, which uv reads past,
# allows pre-releases.
set -- --index-strategy unsafe-best-match
if grep -q -x -e '--pre' /mnt/dependencies/requirements.txt; then
    set -- "$@" --prerelease allow
fi
# The cache is another file system, so links are impossible: say so, or uv warns.
/mnt/uv/bin/uv pip install "$@" \
    --system --break-system-packages --python "$(command -v python3)" \
    --cache-dir /mnt/uv-cache --link-mode copy --no-progress \
    --constraint /mnt/dependencies/constraints.txt \
    --requirement /mnt/dependencies/requirements.txt
rm -f /tmp/uv-*.lock
site=$(python3 -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
python3 /mnt/tools/trim.py "$site"
# unchecked-hash: bytecode stays valid whatever times the layers give the files; Lambda could never write it again.
# A library may ship files for other Pythons that don't compile here, so a failure is not ours to judge.
python3 -m compileall -q -j 0 --invalidation-mode unchecked-hash "$site" >/dev/null || true
# A library may have been packed on a machine that kept its files to itself; in Lambda we are nobody's user.
find "$site" \( ! -perm -004 -o -type d ! -perm -005 \) -exec chmod a+rX {} +
