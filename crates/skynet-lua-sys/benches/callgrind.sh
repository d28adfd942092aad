#!/bin/sh
# Instructions of plain Lua programs (benches/lua), stock Lua against ours,
# built with the same flags, counted by callgrind.
#
# usage: callgrind.sh LUADIR WORKDIR [LIMIT]
#   LUADIR   the edited sources (lua/ in the build script's output folder)
#   LIMIT    per cent that ours may need more (default 3); exit code 1 if any
#            program is above it
set -eu
lua=$1 work=$2 limit=${3:-3}
here=$(cd "$(dirname "$0")" && pwd)
cc=${CC:-cc}
stock=$(cat "$lua/SOURCE")
mkdir -p "$work"
flags="-O2 -g -fwrapv -DLUA_USE_LINUX -DLUA_COMPAT_GLOBAL=1"
build() { # name, source folder, further flags
	sources=
	for file in "$2"/*.c; do
		case ${file##*/} in lua.c | luac.c | onelua.c | ltests.c) ;; *) sources="$sources $file" ;; esac
	done
	# shellcheck disable=SC2086
	$cc $flags $3 -I"$2" -o "$work/$1" $sources "$here/run.c" -lm -ldl -lpthread
}
build stock "$stock" "" &
build ours "$lua" "-DSKL $(cat "$lua/FLAGS")" &
wait
count() {
	valgrind --tool=callgrind --callgrind-out-file="$work/$1.$3.out" "$work/$1" "$2" 2>&1 >"$work/$1.$3.txt" |
		sed -n 's/.*Collected : *\([0-9]*\).*/\1/p'
}
bad=0
printf '%-14s %14s %14s %8s\n' program stock ours 'more %'
for program in "$here"/lua/*.lua; do
	name=$(basename "$program" .lua)
	a=$(count stock "$program" "$name")
	b=$(count ours "$program" "$name")
	cmp -s "$work/stock.$name.txt" "$work/ours.$name.txt" || { echo "$name: results differ"; exit 2; }
	awk -v n="$name" -v a="$a" -v b="$b" -v limit="$limit" 'BEGIN {
		p = (b - a) * 100 / a
		printf "%-14s %14d %14d %8.2f\n", n, a, b, p
		exit p > limit }' || bad=1
done
exit $bad
