package gateway

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// position is a place in a gateway's ledger: a file's number and an offset in it.
type position struct {
	File   uint64 `json:"file"`
	Offset int64  `json:"offset"`
}

const shipChunk = 1 << 20

// ship copies the own ledger to a peer, byte for byte, in batches, for as long as the gateway lives.
// Where to go on is asked from the peer, so neither side has to remember it.
func (g *Gateway) ship(ctx context.Context, p Peer) {
	client := &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{
		DialContext: g.o.Dial, TLSClientConfig: g.o.PeerTLS, MaxIdleConnsPerHost: 1, IdleConnTimeout: time.Minute, DisableCompression: true,
	}}
	defer client.CloseIdleConnections()
	shipped, failures := g.metrics.ledgerShipped.WithLabelValues(p.Name), g.metrics.ledgerShipFailures.WithLabelValues(p.Name)
	var at *position
	pause := g.o.Ledger.Every
	for {
		if !sleep(ctx, pause) {
			return
		}
		if at == nil {
			at = g.askPosition(ctx, client, p)
		}
		if at == nil {
			failures.Inc()
			pause = min(2*pause, 5*time.Second)
			continue
		}
		n, next := g.shipOnce(ctx, client, p, *at)
		if next == nil {
			failures.Inc()
			pause = min(2*pause, 5*time.Second)
		} else {
			pause = g.o.Ledger.Every
			if n >= shipChunk {
				pause = 0
			}
		}
		at = next
		shipped.Add(float64(n))
	}
}

func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}

func (g *Gateway) ledgerURL(p Peer) string {
	return strings.TrimSuffix(p.URL, "/") + "/ledger/" + g.o.Name
}

// askPosition asks the peer how much of the own ledger it has.
func (g *Gateway) askPosition(ctx context.Context, client *http.Client, p Peer) *position {
	var at position
	if !call(ctx, client, http.MethodGet, g.ledgerURL(p), nil, &at) {
		return nil
	}
	return &at
}

// shipOnce sends the next bytes after at, if there are any, and gives the place after them; nil: ask the peer.
func (g *Gateway) shipOnce(ctx context.Context, client *http.Client, p Peer, at position) (int, *position) {
	chunk, from, err := g.ledger.read(at)
	if err != nil {
		g.log.Warn("the ledger cannot be read for shipping", "peer", p.Name, "error", err)
		return 0, nil
	}
	if len(chunk) == 0 {
		return 0, &from
	}
	url := g.ledgerURL(p) + "?file=" + strconv.FormatUint(from.File, 10) + "&offset=" + strconv.FormatInt(from.Offset, 10)
	var next position
	if !call(ctx, client, http.MethodPost, url, chunk, &next) {
		return 0, nil
	}
	return len(chunk), &next
}

func call(ctx context.Context, client *http.Client, method, url string, body []byte, answer any) bool {
	req, err := http.NewRequestWithContext(ctx, method, url, bytes.NewReader(body))
	if err != nil {
		return false
	}
	resp, err := client.Do(req)
	if err != nil {
		return false
	}
	defer resp.Body.Close()
	return resp.StatusCode == http.StatusOK && json.NewDecoder(io.LimitReader(resp.Body, 1<<16)).Decode(answer) == nil
}

// read gives the own ledger's next whole lines at or after the place, and the place where they begin.
func (l *ledger) read(at position) ([]byte, position, error) {
	files, err := ledgerFiles(filepath.Join(l.dir, l.name))
	if err != nil {
		return nil, at, err
	}
	for _, num := range files {
		if num < at.File {
			continue
		}
		from := position{File: num}
		if num == at.File {
			from.Offset = at.Offset
		}
		chunk, err := readLines(l.path(l.name, num), from.Offset)
		if err != nil && !os.IsNotExist(err) {
			return nil, at, err
		}
		if len(chunk) > 0 {
			return chunk, from, nil
		}
	}
	return nil, at, nil
}

func readLines(path string, offset int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b := make([]byte, shipChunk)
	n, err := f.ReadAt(b, offset)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	return b[:bytes.LastIndexByte(b[:n], '\n')+1], nil
}

// peerName gives the gateway whose ledger a request is about; a gateway may write only its own.
func (g *Gateway) peerName(w http.ResponseWriter, r *http.Request) string {
	from := r.PathValue("from")
	switch {
	case g.ledger == nil:
		refuse(w, http.StatusNotFound, "no-ledger", "this gateway keeps no ledger")
	case !safeName(from) || from == g.o.Name:
		refuse(w, http.StatusBadRequest, "gateway-name", "that is not the name of another gateway")
	case r.TLS != nil && machine(r) != "gateway:"+from:
		refuse(w, http.StatusForbidden, "forbidden", "a gateway ships its own ledger only")
	default:
		return from
	}
	return ""
}

func (g *Gateway) serveLedgerPosition(w http.ResponseWriter, r *http.Request) {
	from := g.peerName(w, r)
	if from == "" {
		return
	}
	at, err := g.ledger.end(from)
	if err != nil {
		refuse(w, http.StatusServiceUnavailable, "ledger", "the copy of the ledger cannot be read")
		g.log.Error("the copy of a ledger cannot be read", "from", from, "error", err)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(at)
}

// end gives the end of the copy of a gateway's ledger.
func (l *ledger) end(from string) (position, error) {
	files, err := ledgerFiles(filepath.Join(l.dir, from))
	if os.IsNotExist(err) || (err == nil && len(files) == 0) {
		return position{}, nil
	}
	if err != nil {
		return position{}, err
	}
	last := files[len(files)-1]
	st, err := os.Stat(l.path(from, last))
	if err != nil {
		return position{}, err
	}
	return position{File: last, Offset: st.Size()}, nil
}

// takeLedger appends a shipment to the copy, where it fits on its end; else it says where that is.
func (g *Gateway) takeLedger(w http.ResponseWriter, r *http.Request) {
	from := g.peerName(w, r)
	if from == "" {
		return
	}
	file, err1 := strconv.ParseUint(r.URL.Query().Get("file"), 10, 64)
	offset, err2 := strconv.ParseInt(r.URL.Query().Get("offset"), 10, 64)
	body, err3 := io.ReadAll(http.MaxBytesReader(w, r.Body, shipChunk))
	if err1 != nil || err2 != nil || err3 != nil || file == 0 || offset < 0 {
		refuse(w, http.StatusBadRequest, "shipment", "want file, offset and at most 1 MiB")
		return
	}
	at, err := g.ledger.copyIn(from, position{file, offset}, body)
	if err != nil {
		refuse(w, http.StatusInsufficientStorage, "ledger", "the shipment could not be written")
		g.log.Error("a shipment of a ledger could not be written", "from", from, "error", err)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(at)
}

// copyIn writes the bytes at the place if that is the end of the copy or the beginning of a later file; what is there already stays.
func (l *ledger) copyIn(from string, at position, body []byte) (position, error) {
	l.copies.Lock()
	defer l.copies.Unlock()
	if err := os.MkdirAll(filepath.Join(l.dir, from), 0o700); err != nil {
		return position{}, err
	}
	end, err := l.end(from)
	if err != nil {
		return position{}, err
	}
	if !(at == end || (at.File > end.File && at.Offset == 0)) {
		return end, nil
	}
	f, err := os.OpenFile(l.path(from, at.File), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return position{}, err
	}
	n, err := f.Write(body)
	if err != nil && n > 0 {
		_ = f.Truncate(at.Offset) // half a shipment would end in half a line
	}
	if e := f.Close(); err == nil {
		err = e
	}
	if err != nil {
		return position{}, err
	}
	if at.File != end.File {
		if err := l.prune(from); err != nil {
			return position{}, err
		}
	}
	return position{at.File, at.Offset + int64(n)}, nil
}

// serveLedger answers GET /ledger?system=&unit=&since=&from= with one entry per line: since is a time (Unix milliseconds or RFC 3339).
// Entries of all gateways held here are given; their order is that of each gateway's file.
func (g *Gateway) serveLedger(w http.ResponseWriter, r *http.Request) {
	if g.ledger == nil {
		refuse(w, http.StatusNotFound, "no-ledger", "this gateway keeps no ledger")
		return
	}
	f, err := parseLedgerFilter(r)
	if err != nil {
		refuse(w, http.StatusBadRequest, "ledger-query", err.Error())
		return
	}
	if err := g.ledger.flush(); err != nil {
		g.log.Error("the ledger cannot be written", "error", err)
	}
	w.Header().Set("Content-Type", "application/x-ndjson")
	enc := json.NewEncoder(w)
	if err := g.ledger.each(f, func(e *Entry) error { return enc.Encode(e) }); err != nil {
		g.log.Error("the ledger could not be read to its end", "error", err)
		panic(http.ErrAbortHandler) // the client must not take a part for the whole
	}
}

// serveLedgerEnds answers GET /ledgers with how much of each gateway's ledger is held here, its own among them.
func (g *Gateway) serveLedgerEnds(w http.ResponseWriter, _ *http.Request) {
	if g.ledger == nil {
		refuse(w, http.StatusNotFound, "no-ledger", "this gateway keeps no ledger")
		return
	}
	err := g.ledger.flush()
	ends, endsErr := g.ledger.ends()
	if err = errors.Join(err, endsErr); err != nil {
		refuse(w, http.StatusServiceUnavailable, "ledger", "the ledgers cannot be read")
		g.log.Error("the ledgers cannot be read", "error", err)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(ends)
}

func parseLedgerFilter(r *http.Request) (ledgerFilter, error) {
	q := r.URL.Query()
	f := ledgerFilter{system: q.Get("system"), unit: q.Get("unit"), from: q.Get("from")}
	if s := q.Get("since"); s != "" {
		ms, err := strconv.ParseInt(s, 10, 64)
		if err != nil {
			t, err := time.Parse(time.RFC3339Nano, s)
			if err != nil {
				return f, fmt.Errorf("since: want Unix milliseconds or RFC 3339")
			}
			ms = t.UnixMilli()
		}
		f.since = ms
	}
	return f, nil
}
