#!/usr/bin/env bash
# Benchmarks for a skynet-compatible server program.
#
#   run.sh BINARY ROOT [benchmark ...]
#
# BINARY is started as `BINARY CONFIG`; ROOT holds its lualib/, service/,
# luaclib/ and cservice/, as far as it needs them. Benchmarks: pingpong pairs fanin
# spawn tcpecho timers startup serialize resident loaded idle micro workers floor
# (default: all but floor). `workers` runs pingpong, pairs and fanin with 1 and with 2
# workers. Prints `name value unit` lines, one figure each; `FAILED <benchmark>` and
# exit status 1 where a run crashed or ran past its limit.
#
# Environment: BENCH_THREADS (2), BENCH_PORT (17801), BENCH_SECONDS (10, length
# of one TCP measurement), BENCH_LIMIT (120, seconds one run may take),
# BENCH_PROFILE (true, the `profile` config key),
# BENCH_TOOLS (where the compiled C helpers go), BENCH_LOG (/dev/null, the `logger`
# config key), and the sizes the Lua files read.
set -u

if [ $# -lt 2 ]; then
	sed -n '2,19p' "$0" | sed 's/^# \{0,1\}//'
	exit 2
fi
binary=$(readlink -f "$1")
SKYNET_ROOT=$(readlink -f "$2")
BENCH_DIR=$(dirname "$(readlink -f "$0")")
BENCH_THREADS=${BENCH_THREADS:-2}
BENCH_PORT=${BENCH_PORT:-17801}
BENCH_PROFILE=${BENCH_PROFILE:-true}
BENCH_SECONDS=${BENCH_SECONDS:-10}
BENCH_LIMIT=${BENCH_LIMIT:-120}
BENCH_TOOLS=${BENCH_TOOLS:-${TMPDIR:-/tmp}/skynet-bench-tools}
BENCH_LOG=${BENCH_LOG:-/dev/null}
export SKYNET_ROOT BENCH_DIR BENCH_THREADS BENCH_PORT BENCH_PROFILE BENCH_LOG
shift 2
[ $# -gt 0 ] || set -- pingpong pairs fanin spawn tcpecho timers startup serialize resident loaded idle micro workers

mkdir -p "$BENCH_TOOLS"
for source in echo_client startup floor idle_client; do
	tool=$BENCH_TOOLS/$source
	if [ ! -x "$tool" ] || [ "$BENCH_DIR/tools/$source.c" -nt "$tool" ]; then
		"${CC:-cc}" -O2 -pthread -o "$tool" "$BENCH_DIR/tools/$source.c" || exit 2
	fi
done

# The scratch directory of this run; the servers are started in it.
scratch=$(mktemp -d)
server=
cleanup() {
	if [ -n "$server" ]; then
		kill -TERM "$server" 2>/dev/null # timeout(1), if it is one, hands it on
		for _ in $(seq 60); do kill -0 "$server" 2>/dev/null || break; sleep 0.05; done
		kill -KILL "$server" 2>/dev/null
		wait "$server" 2>/dev/null
	fi
	rm -rf "$scratch"
}
trap cleanup EXIT
trap 'exit 130' INT TERM
cd "$scratch" || exit 2

failed=0
prefix=
figures() { sed -n "s/^BENCH /$prefix/p"; }
fail() {
	echo "FAILED $1"
	tail -n 5 "$scratch/err" >&2 2>/dev/null
	failed=1
}

# A benchmark that prints its figures itself and says BENCH_END when done.
run_self_timed() {
	timeout -k 2 "$BENCH_LIMIT" "$binary" "$BENCH_DIR/config/$1" >"$scratch/out" 2>"$scratch/err" &
	server=$!
	while kill -0 "$server" 2>/dev/null && ! grep -q '^BENCH_END' "$scratch/out"; do sleep 0.25; done
	# It got its figures out; how it goes down is another matter.
	for _ in $(seq 100); do kill -0 "$server" 2>/dev/null || break; sleep 0.05; done
	kill -TERM "$server" 2>/dev/null # timeout(1) hands it on to the server
	wait "$server" 2>/dev/null
	server=
	figures <"$scratch/out"
	grep -q '^BENCH_END' "$scratch/out" || fail "$1"
}

run_tcpecho() {
	"$binary" "$BENCH_DIR/config/tcpecho" >"$scratch/out" 2>"$scratch/err" &
	server=$!
	for _ in $(seq 100); do grep -q '^READY' "$scratch/out" && break; sleep 0.05; done
	for depth in 1 16; do
		timeout $((BENCH_SECONDS + 20)) "$BENCH_TOOLS/echo_client" "tcpecho_d$depth" \
			127.0.0.1 "$BENCH_PORT" 100 64 "$depth" "$BENCH_SECONDS" "$server" | figures
		[ "${PIPESTATUS[0]}" -eq 0 ] || fail tcpecho
	done
	kill -KILL "$server" 2>/dev/null
	wait "$server" 2>/dev/null
	server=
}

run_startup() {
	"$BENCH_TOOLS/startup" 1 "$binary" "$BENCH_DIR/config/startup" 2>"$scratch/err" | figures
	[ "${PIPESTATUS[0]}" -eq 0 ] || fail startup
}

# Idle connections come from a process of their own.
run_idle() {
	local connections=${BENCH_CONNECTIONS:-10000}
	ulimit -n $((connections + 1000)) || { fail idle; return; }
	(
		for _ in $(seq 100); do grep -q '^READY' "$scratch/out" 2>/dev/null && break; sleep 0.05; done
		exec "$BENCH_TOOLS/idle_client" 127.0.0.1 "$BENCH_PORT" "$connections" >"$scratch/clients" 2>&1
	) &
	local clients=$!
	run_self_timed idle
	kill "$clients" 2>/dev/null
	wait "$clients" 2>/dev/null
}

# 1 worker against 2.
run_workers() {
	local threads=$BENCH_THREADS benchmark
	for BENCH_THREADS in 1 2; do
		prefix=workers${BENCH_THREADS}_
		for benchmark in pingpong pairs fanin; do run_self_timed "$benchmark"; done
	done
	prefix= BENCH_THREADS=$threads
}

run_floor() {
	"$BENCH_TOOLS/floor" futex 300000 | figures
	"$BENCH_TOOLS/floor" spin 3000000 | figures
	"$BENCH_TOOLS/floor" queue 8000000 | figures
	"$BENCH_TOOLS/floor" echo "$BENCH_PORT" >"$scratch/out" &
	server=$!
	sleep 0.2
	for depth in 1 16; do
		"$BENCH_TOOLS/echo_client" "floor_echo_d$depth" 127.0.0.1 "$BENCH_PORT" 100 64 "$depth" \
			"$BENCH_SECONDS" "$server" | figures
	done
	kill -KILL "$server"
	wait "$server" 2>/dev/null
	server=
}

for benchmark in "$@"; do
	case $benchmark in
	pingpong | pairs | fanin | spawn | timers | serialize | resident | loaded | micro) run_self_timed "$benchmark" ;;
	tcpecho | startup | idle | workers | floor) "run_$benchmark" ;;
	*) echo "unknown benchmark $benchmark" >&2; failed=1 ;;
	esac
done
exit $failed
