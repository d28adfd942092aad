#!/bin/sh
# Runs all tests. Installs what they need beside Rust, if it is missing and a
# package manager is there: a C compiler (also needed to build), nm, valgrind.
set -eu
cd "$(dirname "$0")"

as_root() {
	if [ "$(id -u)" -eq 0 ]; then "$@"; elif command -v sudo >/dev/null; then sudo "$@"; else return 1; fi
}

install() {
	if command -v apt-get >/dev/null; then
		as_root apt-get update -q && as_root apt-get install -y -q gcc libc6-dev binutils valgrind
	elif command -v dnf >/dev/null; then
		as_root dnf install -y gcc glibc-devel binutils valgrind
	elif command -v pacman >/dev/null; then
		as_root pacman -Sy --noconfirm gcc binutils valgrind
	elif command -v apk >/dev/null; then
		as_root apk add gcc musl-dev binutils valgrind
	else
		return 1
	fi
}

for tool in cc nm valgrind; do
	if ! command -v $tool >/dev/null; then
		install || echo "test.sh: please install $tool" >&2
		break
	fi
done

# All packages, also those that a plain build does not download.
cargo fetch --locked
cargo test --workspace --locked "$@"
# All interleavings of the scheduler's structures. Another target folder, since
# all dependencies are built anew for it.
RUSTFLAGS="--cfg loom" cargo test -p skynet-core --release --lib --locked \
	--target-dir "${CARGO_TARGET_DIR:-target}/loom" models
