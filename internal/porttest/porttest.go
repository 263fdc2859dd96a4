// Package porttest keeps TCP ports free for the test that is about to listen on them.
//
// A port that was listened on for a moment to learn its number is anybody's again: of a test that runs beside this one, of another
// test program, of any connection that goes out. A kept port is nobody else's until the test ends.
package porttest

import (
	"net"
	"os"
	"strconv"
	"testing"

	"golang.org/x/sys/unix"
)

// Keep gives a TCP port that is free on every address of the machine and that the kernel gives to nobody who asks for any port until
// the test has ended. Whoever listens on it with SO_REUSEADDR, as PostgreSQL and package net do, may, and again after closing.
// A connection to it is refused while nobody does.
func Keep(t testing.TB) int {
	t.Helper()
	// Bound and never listened on: that is what keeps it without being in the way.
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(os.NewSyscallError("socket", err))
	}
	t.Cleanup(func() { _ = unix.Close(fd) })
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1); err != nil {
		t.Fatal(os.NewSyscallError("setsockopt", err))
	}
	if err := unix.Bind(fd, &unix.SockaddrInet4{}); err != nil {
		t.Fatal(os.NewSyscallError("bind", err))
	}
	name, err := unix.Getsockname(fd)
	if err != nil {
		t.Fatal(os.NewSyscallError("getsockname", err))
	}
	return name.(*unix.SockaddrInet4).Port
}

// KeepAddress gives a kept port of 127.0.0.1 as "127.0.0.1:PORT".
func KeepAddress(t testing.TB) string {
	t.Helper()
	return net.JoinHostPort("127.0.0.1", strconv.Itoa(Keep(t)))
}
