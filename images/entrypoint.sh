#!/bin/sh
# In Lambda the service says where its runtime API is; anywhere else AWS's emulator plays it, on port 8080.
set -eu
python=$(command -v python3)
if [ -n "${AWS_LAMBDA_RUNTIME_API:-}" ]; then
    exec "$python" -m thampi_handler
fi
exec /opt/thampi/bin/aws-lambda-rie "$python" -m thampi_handler
