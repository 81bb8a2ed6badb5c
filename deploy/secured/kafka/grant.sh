#!/bin/bash
# Grants the rights in /rights/commands, the output of `iris-admin acls`, as the user admin.
set -euo pipefail
# Each command starts a JVM, so commands that differ only in the resource become one with all resources, and two run at a time.
awk '
  match($0, / --(topic|group|transactional-id) /) {
    command = substr($0, 1, RSTART - 1)
    sub(/^kafka-acls.sh --bootstrap-server [^ ]+/, "/etc/iris/admin.sh kafka-acls.sh", command)
    resources[command] = resources[command] substr($0, RSTART)
  }
  END { for (command in resources) print command resources[command] }
' /rights/commands | tr '\n' '\0' | xargs -0 -n 1 -P 2 bash -c 'output=$(eval "$0" 2>&1 </dev/null) || { echo "$output"; exit 1; }'
echo "granted $(grep -c '^kafka-acls' /rights/commands) rights"
