#!/bin/sh
# Puts together what the image of Argus holds, in a folder: image.sh BINARY FOLDER
#
# Whatever the binary is linked with comes from the system that built it, so that both always fit. Names are resolved by the C
# library itself, and time zones are in the binary: nothing else is loaded when it runs.
set -eu
binary=$1 folder=$2
authorities=/etc/ssl/certs/ca-certificates.crt

mkdir -p "$folder/usr/bin" "$folder$(dirname "$authorities")"
cp "$binary" "$folder/usr/bin/argus"
cp -L "$authorities" "$folder$authorities"
mkdir -m 1777 "$folder/tmp"
printf 'argus:x:65532:65532::/tmp:/sbin/nologin\n' >"$folder/etc/passwd"
printf 'argus:x:65532:\n' >"$folder/etc/group"
printf 'hosts: files dns\n' >"$folder/etc/nsswitch.conf"

linked=$(ldd "$binary")
case $linked in
*'not found'*)
    printf 'image.sh: this system lacks a library that %s is linked with:\n%s\n' "$binary" "$linked" >&2
    exit 1
    ;;
esac
printf '%s\n' "$linked" | awk '$2 == "=>" { print $3 } $1 ~ "^/" { print $1 }' | while read -r library; do
    mkdir -p "$folder$(dirname "$library")"
    cp -L "$library" "$folder$library"
done
