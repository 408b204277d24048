# Made by thampi VERSION from requirements.txt, on a base that has the handler.
FROM thampi-base:BASE
RUN --mount=type=bind,source=tools,target=/mnt/tools \
    --mount=type=bind,source=dependencies,target=/mnt/dependencies \
    --mount=type=cache,id=thampi-uv,target=/mnt/uv-cache \
    --mount=type=cache,id=thampi-kept,target=/mnt/kept \
    --mount=type=secret,id=ca,target=/run/secrets/ca,mode=0444 \
    --mount=type=secret,id=netrc,target=/run/secrets/netrc,mode=0444 \
    --mount=type=secret,id=pip,target=/run/secrets/pip,mode=0444 \
    --mount=type=secret,id=indexes,target=/run/secrets/indexes,mode=0444 \
    sh /mnt/tools/install.sh
RUN --mount=type=bind,source=project,target=/mnt/project \
    cp -R /mnt/project/. /var/task/ \
    && python -m compileall -q --invalidation-mode unchecked-hash /var/task \
    && find /var/task -exec touch --no-dereference --date=@0 {} +
