#!/bin/sh
# Make the environment /opt/env of conda's packages, with the standard library of its Python compiled.
# Runs inside the build; /mnt holds what is only there for this step.
set -eu
if [ -s /run/secrets/ca ]; then
    export SSL_CERT_FILE=/run/secrets/ca
fi
PYTHONPATH=/mnt/conda python3 /mnt/tools/conda_install.py \
    /mnt/dependencies/conda.txt /mnt/dependencies/packages /mnt/conda-cache /opt/env
stdlib=$(/opt/env/bin/python3 -c 'import sysconfig; print(sysconfig.get_path("stdlib"))')
# unchecked-hash: bytecode stays valid whatever times the layers give the files; Lambda could never write it again.
/opt/env/bin/python3 -m compileall -q -j 0 --invalidation-mode unchecked-hash \
    -x '/(site-packages|test|tests|idlelib|lib2to3|turtledemo|ensurepip)/' "$stdlib" >/dev/null || true
# A package may have been made on a machine that kept its files to itself; in Lambda we are nobody's user.
find /opt/env \( ! -perm -004 -o -type d ! -perm -005 \) ! -type l -exec chmod a+rX {} +
