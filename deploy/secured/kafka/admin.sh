#!/bin/bash
# Runs a tool of Kafka as the user admin, for example: admin.sh kafka-acls.sh --list
set -euo pipefail
umask 077
properties=$(mktemp)
cat >"$properties" <<PROPERTIES
security.protocol=SASL_SSL
sasl.mechanism=SCRAM-SHA-512
sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required username="admin" password="$(</run/secrets/kafka-admin)";
ssl.truststore.type=PEM
ssl.truststore.location=/run/secrets/ca
PROPERTIES
tool=$1
shift
exec "/opt/kafka/bin/$tool" --bootstrap-server kafka:9092 --command-config "$properties" "$@"
