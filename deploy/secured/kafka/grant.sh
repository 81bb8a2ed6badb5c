#!/bin/bash
# Grants the rights in /rights/commands, the output of `iris-admin acls`, as the user admin.
set -euo pipefail
umask 077
cd /tmp
cat >admin.properties <<PROPERTIES
security.protocol=SASL_SSL
sasl.mechanism=SCRAM-SHA-512
sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required username="admin" password="$(</run/secrets/kafka-admin)";
ssl.truststore.type=PEM
ssl.truststore.location=/run/secrets/ca
PROPERTIES

# Each command starts a JVM, so commands that differ only in the resource become one with all resources, and two run at a time.
export PATH=$PATH:/opt/kafka/bin
awk '
  match($0, / --(topic|group|transactional-id) /) {
    command = substr($0, 1, RSTART - 1) " --command-config admin.properties"
    resources[command] = resources[command] substr($0, RSTART)
  }
  END { for (command in resources) printf "%s%s%c", command, resources[command], 0 }
' /rights/commands | xargs -0 -n 1 -P 2 bash -c 'output=$(eval "$0" 2>&1 </dev/null) || { echo "$output"; exit 1; }'
echo "granted $(grep -c '^kafka-acls' /rights/commands) rights"
