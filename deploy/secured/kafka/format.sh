#!/bin/bash
# Formats the storage of the broker with its users, unless it is formatted: one user per file /run/secrets/kafka-USER, which
# contains the password.
set -euo pipefail
umask 077
# A file, because other users can read the arguments of a process.
for file in /run/secrets/kafka-*; do
  printf '%s\n' --add-scram "SCRAM-SHA-512=[name=${file##*/kafka-},password=$(<"$file")]"
done >/tmp/users
exec /opt/kafka/bin/kafka-storage.sh format --ignore-formatted --cluster-id aXJpcy1zZWN1cmVkLWthZg \
  --config /etc/iris/server.properties @/tmp/users
