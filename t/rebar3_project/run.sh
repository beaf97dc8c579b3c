#!/bin/sh
# SPDX-License-Identifier: ISC
# Builds this project, which depends on a copy of the checkout by path, in a
# temporary directory and without a network, and runs it. Status 0: it works.
set -eu
# Whoever runs us may build something else.
unset BUILD PORT MAKEFLAGS MFLAGS MAKELEVEL

here=$(cd "$(dirname "$0")" && pwd -P)
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT

cp -R "$here/rebar.config" "$here/src" "$dir"
mkdir -p "$dir/_checkouts/erlxc" "$dir/lxc"
tar -C "$here/../.." --exclude='./.git' --exclude='./build*' \
    --exclude='./ebin' --exclude='./priv' --exclude='_build' -cf - . |
    tar -C "$dir/_checkouts/erlxc" -xf -
cd "$dir"
REBAR_CACHE_DIR="$dir/cache" "${REBAR3:-rebar3}" compile
erl -noshell -pa _build/default/checkouts/*/ebin _build/default/lib/*/ebin \
    -eval 'erlxc_user:main(init:get_plain_arguments()), halt().' \
    -extra "$dir/lxc"
