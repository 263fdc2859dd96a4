package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// load sends requests over a fixed number of connections, each waiting for its answer, and checks every status.
func load(ctx context.Context, addr string, o options, requests int) (time.Duration, error) {
	var left atomic.Int64
	left.Store(int64(requests))
	var failed atomic.Pointer[error]
	var wg sync.WaitGroup
	began := time.Now()
	for n := range o.conns {
		wg.Go(func() {
			if err := lane(ctx, addr, o, n, &left); err != nil {
				failed.Store(&err)
				left.Store(0)
			}
		})
	}
	wg.Wait()
	if err := failed.Load(); err != nil {
		return 0, *err
	}
	return time.Since(began), ctx.Err()
}

func lane(ctx context.Context, addr string, o options, n int, left *atomic.Int64) error {
	c, err := net.Dial("tcp", addr)
	if err != nil {
		return err
	}
	defer c.Close()
	br := bufio.NewReader(c)
	var pace *time.Ticker
	if o.rate > 0 {
		pace = time.NewTicker(time.Duration(float64(o.conns) / o.rate * float64(time.Second)))
		defer pace.Stop()
	}
	account := fmt.Sprintf("62220200%08d", n)
	body := `{"from":"` + account + `","to":"6222020087654321","amount":"12.50","memo":"`
	body += strings.Repeat("x", max(0, o.body-len(body)-2)) + `"}`
	var req []byte
	for i := 0; left.Add(-1) >= 0; i++ {
		if pace != nil {
			select {
			case <-pace.C:
			case <-ctx.Done():
			}
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		req = append(req[:0], "POST /v1/transfers HTTP/1.1\r\nHost: bank.example\r\nUser-Agent: gatewaybench/1\r\nAccept: application/json\r\nContent-Type: application/json\r\nX-Account: "...)
		req = append(append(req, account...), "\r\nIdempotency-Key: 0192d0f4-7c0e-4c8e-"...)
		req = strconv.AppendInt(req, int64(n)<<32+int64(i), 10)
		req = append(req, "\r\nContent-Length: "...)
		req = strconv.AppendInt(req, int64(len(body)), 10)
		req = append(append(req, "\r\n\r\n"...), body...)
		if _, err := c.Write(req); err != nil {
			return err
		}
		if err := readAnswer(br); err != nil {
			return err
		}
	}
	return nil
}

// readAnswer reads one answer that has to be a 200 with a Content-Length.
func readAnswer(br *bufio.Reader) error {
	length := -1
	for first := true; ; first = false {
		line, err := br.ReadSlice('\n')
		if err != nil {
			return err
		}
		line = bytes.TrimRight(line, "\r\n")
		if first {
			if !bytes.HasPrefix(line, []byte("HTTP/1.1 200")) {
				return fmt.Errorf("answered %q", line)
			}
			continue
		}
		if len(line) == 0 {
			break
		}
		if len(line) > 15 && bytes.EqualFold(line[:15], []byte("content-length:")) {
			if length, err = strconv.Atoi(string(bytes.TrimSpace(line[15:]))); err != nil {
				return err
			}
		}
	}
	if length < 0 {
		return errors.New("an answer without Content-Length")
	}
	_, err := br.Discard(length)
	return err
}

// times is processor time.
type times struct{ user, system time.Duration }

func (t times) since(o times) times { return times{t.user - o.user, t.system - o.system} }

// cpu is the processor time a process has taken.
func cpu(pid int) (times, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return times{}, err
	}
	fields := strings.Fields(string(b[bytes.LastIndexByte(b, ')')+1:]))
	if len(fields) < 13 {
		return times{}, io.ErrUnexpectedEOF
	}
	const tick = 10 * time.Millisecond // USER_HZ is 100 wherever Go runs on Linux
	user, err1 := strconv.ParseInt(fields[11], 10, 64)
	system, err2 := strconv.ParseInt(fields[12], 10, 64)
	return times{time.Duration(user) * tick, time.Duration(system) * tick}, errors.Join(err1, err2)
}

func freePorts(n int) ([]string, error) {
	var out []string
	for range n {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		defer ln.Close()
		out = append(out, ln.Addr().String())
	}
	return out, nil
}

func waitFor(addr string) error {
	var err error
	for range 100 {
		var c net.Conn
		if c, err = net.Dial("tcp", addr); err == nil {
			return c.Close()
		}
		time.Sleep(20 * time.Millisecond)
	}
	return err
}
