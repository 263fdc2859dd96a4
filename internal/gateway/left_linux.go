package gateway

import (
	"net"
	"syscall"

	"golang.org/x/sys/unix"
)

// hasLeft reports whether a client has closed its connection or is gone, whatever it sent before that nobody has read yet.
func hasLeft(nc net.Conn) bool {
	for {
		switch c := nc.(type) {
		case interface{ NetConn() net.Conn }: // TLS
			nc = c.NetConn()
			continue
		case *clientConn:
			nc = c.Conn
			continue
		}
		break
	}
	sc, ok := nc.(syscall.Conn)
	if !ok {
		return false
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return true
	}
	left := false
	err = raw.Control(func(fd uintptr) {
		info, err := unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO)
		left = err == nil && info.State != unix.BPF_TCP_ESTABLISHED
	})
	return left || err != nil
}
