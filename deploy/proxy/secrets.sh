#!/usr/bin/env bash
# Creates the secrets of the proxy in deploy/proxy/secrets, or in PROXY_SECRETS: a certificate, its key, and a user whose password
# is read from standard input. A certificate that exists is kept. Replace the self-signed one with one of your authority.
#
#   deploy/proxy/secrets.sh USER [HOST]      for example: deploy/proxy/secrets.sh iris localhost
set -euo pipefail
[ $# -ge 1 ] || { echo "usage: $0 USER [HOST]" >&2; exit 2; }
user=$1 host=${2:-localhost}
[[ $user != *:* && -n $user ]] || { echo "$0: a user has no colon" >&2; exit 2; }
directory=${PROXY_SECRETS:-$(dirname "$0")/secrets}
# Only this user may enter the directory. The files themselves are readable, because the proxy runs as another user.
mkdir -p "$directory" && chmod 700 "$directory"
if [ -t 0 ]; then read -rsp "Password of $user: " password; echo >&2; else read -r password; fi
[ -n "$password" ] || { echo "$0: the password is empty" >&2; exit 2; }
printf '%s:%s\n' "$user" "$(openssl passwd -6 -stdin <<<"$password")" >"$directory/users.new"
mv -f "$directory/users.new" "$directory/users"
if [ ! -e "$directory/certificate.pem" ]; then
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 365 -subj "/CN=$host" \
    -addext "subjectAltName=DNS:$host" -keyout "$directory/key.pem" -out "$directory/certificate.pem" 2>/dev/null
fi
chmod 644 "$directory"/*
echo "created $directory" >&2
