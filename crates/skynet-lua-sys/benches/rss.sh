#!/bin/sh
# Resident memory of VMs, stock Lua and ours (benches/rss.c).
#
# usage: rss.sh LUADIR WORKDIR [VMS]
#   LUADIR   the edited sources (lua/ in the build script's output folder)
set -eu
lua=$1 work=$2 vms=${3:-2000}
here=$(cd "$(dirname "$0")" && pwd)
cc=${CC:-cc}
stock=$(cat "$lua/SOURCE")
mkdir -p "$work/rssmodules"
flags="-O2 -fwrapv -DLUA_USE_LINUX -DLUA_COMPAT_GLOBAL=1"
build() { # name, source folder, further flags
	sources=
	for file in "$2"/*.c; do
		case ${file##*/} in lua.c | luac.c | onelua.c | ltests.c) ;; *) sources="$sources $file" ;; esac
	done
	# shellcheck disable=SC2086
	$cc $flags $3 -I"$2" -o "$work/$1" $sources "$here/rss.c" -lm -ldl -lpthread
}
build rss-stock "$stock" "" &
build rss-ours "$lua" "-DSKL $(cat "$lua/FLAGS") ${EXTRA:-}" &
wait
echo "stock, $((vms / 10)) VMs"
"$work/rss-stock" "$work/rssmodules" $((vms / 10))
echo "ours, $vms VMs"
"$work/rss-ours" "$work/rssmodules" "$vms"
