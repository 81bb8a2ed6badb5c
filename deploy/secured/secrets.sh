#!/usr/bin/env bash
# Creates the certificates and passwords of the secured deployment in deploy/secured/secrets, or in SECURED_SECRETS. Files that
# exist are kept: to renew one, delete it and run the script again.
#
#   deploy/secured/secrets.sh [HOST]...      for example: deploy/secured/secrets.sh iris.example
#
# The page is served under localhost and the given hosts. Its user is iris, and the password is in the file page-password.
set -euo pipefail
umask 077
here=$(cd "$(dirname "$0")" && pwd)
directory=${SECURED_SECRETS:-$here/secrets}
# Only this user may enter the directory.
mkdir -p "$directory/proxy" && chmod 700 "$directory" "$directory/proxy" && cd "$directory"

# The numeric users of the containers.
iris=10001 kafka=1000 postgres=999

# Lets containers read a file: readable FILE USER GROUP. Only root can give a file to their users. Otherwise it is readable, but
# only for those who may enter the directory.
readable() {
  if [ "$(id -u)" = 0 ]; then chown "$2:$3" "$1" && chmod 440 "$1"; else chmod 444 "$1"; fi
}

# password NAME USER GROUP
password() {
  [ -s "$1" ] || { openssl rand -hex 24 >"$1.new" && mv "$1.new" "$1"; }
  readable "$1" "$2" "$3"
}

# Issues the certificate NAME.pem with the key NAME.key: certificate NAME COMMON_NAME HOST...
certificate() {
  local name=$1 subject=$2 names
  shift 2
  if [ -s "$name.pem" ] && [ -s "$name.key" ]; then return; fi
  rm -f "$name.pem" "$name.key"
  names=$(printf 'DNS:%s,' "$@")
  openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj "/CN=$subject" -keyout "$name.key" -out "$name.csr" 2>/dev/null
  openssl x509 -req -in "$name.csr" -CA ca.pem -CAkey ca.key -set_serial "0x$(openssl rand -hex 15)" -days 397 -out "$name.pem" -extfile <(
    printf '%s\n' "subjectAltName=${names%,}" 'basicConstraints=critical,CA:FALSE' 'keyUsage=critical,digitalSignature' \
      'extendedKeyUsage=serverAuth,clientAuth'
  ) 2>/dev/null
  rm "$name.csr"
}

# The authority. Its key is used by this script alone.
if [ ! -s ca.key ] || [ ! -s ca.pem ]; then
  openssl req -x509 -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 3650 -subj '/CN=Iris' -keyout ca.key -out ca.pem -config <(
    printf '%s\n' '[req]' 'distinguished_name=name' 'x509_extensions=authority' '[name]' '[authority]' \
      'basicConstraints=critical,CA:TRUE,pathlen:0' 'keyUsage=critical,keyCertSign' 'subjectKeyIdentifier=hash'
  ) 2>/dev/null
fi
chmod 444 ca.pem

certificate kafka kafka kafka localhost
# Kafka reads the key and the certificate from one file.
cat kafka.key kafka.pem >kafka.store.new && mv -f kafka.store.new kafka.store
readable kafka.store $kafka $kafka
password kafka-admin $kafka $kafka
for user in producer classifier feedback-sink trainer dashboard admin-topics admin-models; do
  password "kafka-iris-$user" $iris $kafka
done

certificate postgres postgres postgres
for file in postgres.pem postgres.key; do readable $file $postgres $postgres; done
for user in owner sink page; do password "postgres-$user" $iris $postgres; done

certificate proxy/certificate localhost localhost "$@"
for host in "$@"; do
  openssl x509 -in proxy/certificate.pem -noout -checkhost "$host" | grep -q 'does match' || {
    echo "error: $directory/proxy/certificate.pem is not for $host: to issue a new one, delete it and run this again" >&2
    exit 1
  }
done
[ -s page-password ] || openssl rand -hex 12 >page-password
[ -s proxy/users ] || PROXY_SECRETS=$directory/proxy "$here/../proxy/secrets.sh" iris <page-password 2>/dev/null
for file in proxy/*; do readable "$file" $iris $iris; done
echo "the secrets are in $directory; the user of the page is iris, its password is in page-password" >&2
