package porttest_test

import (
	"errors"
	"net"
	"strconv"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"perdure/internal/porttest"
)

func TestKeptPortIsListenedOnAgainAndAgain(t *testing.T) {
	address := porttest.KeepAddress(t)
	for range 3 {
		l, err := net.Listen("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		if other, err := net.Listen("tcp", address); !errors.Is(err, syscall.EADDRINUSE) {
			t.Errorf("listened on twice: %v %v", other, err)
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if conn, err := net.Dial("tcp", address); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("nobody listens, and yet: %v %v", conn, err)
	}
}

// The kernel is left one port to choose from.
func TestKeptPortIsGivenToNobodyElse(t *testing.T) {
	port := porttest.Keep(t)
	only := func(network, address string, c syscall.RawConn) error {
		var err error
		ctl := c.Control(func(fd uintptr) {
			err = unix.SetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_LOCAL_PORT_RANGE, port<<16|port)
		})
		if errors.Is(err, unix.ENOPROTOOPT) {
			t.Skip("this kernel chooses ports of the whole range only")
		}
		return errors.Join(ctl, err)
	}
	listening := net.ListenConfig{Control: only}
	for _, host := range []string{"", "127.0.0.1", "127.0.0.2"} {
		l, err := listening.Listen(t.Context(), "tcp4", net.JoinHostPort(host, "0"))
		if !errors.Is(err, syscall.EADDRINUSE) {
			t.Errorf("%q was given to another listener: %v %v", host, l, err)
		}
	}
	to, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer to.Close()
	dialing := net.Dialer{Control: only}
	if conn, err := dialing.DialContext(t.Context(), "tcp4", to.Addr().String()); !errors.Is(err, syscall.EADDRNOTAVAIL) {
		t.Errorf("%s was given to a connection: %v %v", strconv.Itoa(port), conn, err)
	}
}
