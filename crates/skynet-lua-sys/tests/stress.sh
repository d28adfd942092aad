#!/bin/sh
# Builds Lua with our edits and tests/stress.c in one variant and runs it.
#
# usage: stress.sh VARIANT LUADIR WORKDIR [SECONDS [SEED [ROUNDS]]]
#   VARIANT  thread    thread sanitizer
#            address   address and undefined behaviour sanitizers
#            assert    Lua's assertions and API checks
#            hard      the same, a full collection and a moved stack wherever
#                      one may happen, every allocation an emergency
#            valgrind  under valgrind (memcheck)
#            plain     as delivered
#   LUADIR   the edited sources (lua/ in the build script's output folder)
#   WORKDIR  for objects and the program; may exist, and is kept
# Exit code 77: not possible here, the reason is printed.
set -eu
variant=$1 lua=$2 work=$3 seconds=${4:-3} seed=${5:-1} rounds=${6:-1000000000}
here=$(cd "$(dirname "$0")" && pwd)
cc=${CC:-cc}
command -v "$cc" >/dev/null || { echo "skipped: no C compiler ($cc)"; exit 77; }

checks="-DLUAI_ASSERT -DLUA_USE_APICHECK"
runner=
case $variant in
thread) flags="-O1 -fsanitize=thread" ;;
address) flags="-O1 -fsanitize=address,undefined -fno-sanitize-recover=all -fno-sanitize=pointer-overflow" ;;
assert) flags="-O1 $checks" ;;
hard) flags="-O1 $checks -DHARDMEMTESTS -DHARDSTACKTESTS -DEMERGENCYGCTESTS" ;;
valgrind)
	flags="-O1"
	command -v valgrind >/dev/null || { echo "skipped: no valgrind"; exit 77; }
	runner="valgrind -q --error-exitcode=9 --leak-check=full --show-leak-kinds=all" ;;
plain) flags="-O2" ;;
*) echo "no such variant: $variant"; exit 2 ;;
esac
case $flags in *-fsanitize*)
	printf 'int main(void){return 0;}\n' >"${TMPDIR:-/tmp}/skl-probe-$$.c"
	# shellcheck disable=SC2086
	if ! $cc $flags "${TMPDIR:-/tmp}/skl-probe-$$.c" -o "${TMPDIR:-/tmp}/skl-probe-$$" 2>/dev/null; then
		rm -f "${TMPDIR:-/tmp}/skl-probe-$$"*
		echo "skipped: $cc cannot link $flags"
		exit 77
	fi
	rm -f "${TMPDIR:-/tmp}/skl-probe-$$"* ;;
esac

mkdir -p "$work/$variant/modules"
defines=$(cat "$lua/FLAGS")
todo=
objects=
for source in "$lua"/*.c "$here/stress.c"; do
	object=$work/$variant/$(basename "$source" .c).o
	objects="$objects $object"
	newest=$(ls -t "$lua"/*.h "$source" "$object" 2>/dev/null | head -n 1)
	[ "$newest" = "$object" ] || todo="$todo $source"
done
# shellcheck disable=SC2086
printf '%s\n' $todo | xargs -r -P 2 -I '{}' sh -c '
	o='"$work/$variant"'/$(basename {} .c).o
	'"$cc $flags"' -g -fwrapv '"$defines"' -I'"$lua"' -c {} -o $o.tmp && mv $o.tmp $o'
# shellcheck disable=SC2086
$cc $flags -g -o "$work/$variant/stress" $objects -lm -ldl -lpthread
# shellcheck disable=SC2086
exec $runner "$work/$variant/stress" "$work/$variant/modules" "$seconds" "$seed" "$rounds"
