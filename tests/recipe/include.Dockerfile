# Made by thampi VERSION from requirements.txt, on a base that has the handler.
FROM thampi-base:BASE AS uv
RUN --mount=type=bind,source=tools,target=/mnt/tools \
    --mount=type=secret,id=ca,target=/run/secrets/ca,mode=0444 \
    --mount=type=secret,id=netrc,target=/run/secrets/netrc,mode=0444 \
    --mount=type=secret,id=pip,target=/run/secrets/pip,mode=0444 \
    if [ -s /run/secrets/ca ]; then export PIP_CERT=/run/secrets/ca; fi; \
    if [ -s /run/secrets/netrc ]; then export NETRC=/run/secrets/netrc; fi; \
    if [ -s /run/secrets/pip ]; then export PIP_CONFIG_FILE=/run/secrets/pip; fi; \
    pip install --quiet --no-cache-dir --no-compile --only-binary :all: --target /uv --requirement /mnt/tools/uv.txt

FROM thampi-base:BASE
RUN --mount=type=bind,from=uv,source=/uv,target=/mnt/uv \
    --mount=type=bind,source=tools,target=/mnt/tools \
    --mount=type=bind,source=dependencies,target=/mnt/dependencies \
    --mount=type=cache,id=thampi-uv,target=/mnt/uv-cache \
    --mount=type=secret,id=ca,target=/run/secrets/ca,mode=0444 \
    --mount=type=secret,id=netrc,target=/run/secrets/netrc,mode=0444 \
    --mount=type=secret,id=indexes,target=/run/secrets/indexes,mode=0444 \
    sh /mnt/tools/install.sh
COPY project/ /var/task/
RUN python -m compileall -q -j 0 --invalidation-mode unchecked-hash /var/task
