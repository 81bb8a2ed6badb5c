#!/bin/bash
# Starts PostgreSQL with TLS.
set -euo pipefail
# The server requires that it owns its key and that no other user can read it.
install -m 600 /run/secrets/postgres.key /tmp/postgres.key
# The entry point asks for a password of the superuser, which pg_hba.conf lets log in without one inside the container alone.
POSTGRES_PASSWORD=$(head -c 24 /dev/urandom | base64)
export POSTGRES_PASSWORD
exec docker-entrypoint.sh -c ssl=on -c ssl_cert_file=/run/secrets/postgres.pem -c ssl_key_file=/tmp/postgres.key \
  -c hba_file=/etc/iris/pg_hba.conf
