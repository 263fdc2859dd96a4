package gateway

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"perdure/internal/errs"
	"perdure/internal/route"
)

// LedgerOptions bound the ledger; zero values mean the defaults named here.
type LedgerOptions struct {
	FileBytes int64         // of one file, default 8 MiB
	Files     int           // kept per gateway, default 64; the oldest are removed
	Buffer    int           // bytes waiting to be written, default 4 MiB; beyond it entries are dropped and counted
	Every     time.Duration // between writes and between shipments, default 200 ms
}

func (o *LedgerOptions) defaults() {
	o.FileBytes = orDefault(o.FileBytes, 8<<20)
	o.Files = orDefault(o.Files, 64)
	o.Buffer = orDefault(o.Buffer, 4<<20)
	o.Every = orDefault(o.Every, 200*time.Millisecond)
}

// Entry is one acknowledged keyed write: one line of the ledger. It is noted before the client gets the answer, on disk within
// LedgerOptions.Every and at the other sites soon after. It is evidence for the estimate of a loss, not a promise (I7, I10).
type Entry struct {
	At         int64   `json:"at"` // Unix milliseconds of the gateway
	System     string  `json:"system"`
	Unit       string  `json:"unit"`
	Ownership  string  `json:"ownership"`
	Caller     string  `json:"caller"`
	RoutingKey string  `json:"routingKey"`
	Key        string  `json:"key"`
	Receipt    Receipt `json:"receipt"`
	// Unknown: the application said nothing that could be kept, so nobody knows which accounts it was about.
	Unknown bool `json:"unknown,omitempty"`
	// From is the gateway that gave the answer; set when the ledger is read.
	From string `json:"from,omitempty"`
}

// Receipt is what the application says in Perdure-Receipt.
type Receipt struct {
	Seq      int64    `json:"seq"`
	Amount   string   `json:"amount"` // decimal text
	Accounts []string `json:"accounts"`
}

const maxReceipt = 4 << 10

// ledger is an append-only sequence of files per gateway, named by the Unix millisecond they were begun at: own ones, and byte-for-byte copies of the other gateways'.
// The own files are written by one goroutine; a copy's file grows only at its end, so a shipment that comes twice changes nothing.
type ledger struct {
	dir  string // of all gateways
	name string // own
	o    LedgerOptions

	mu     sync.Mutex // over the buffer
	buf    []byte
	spare  []byte
	lost   int64 // entries that were not kept since the last file began: the next one says so
	closed bool

	writing sync.Mutex // over the own file
	file    *os.File   // open for append, nil after close or a failure
	num     uint64
	size    int64

	copies sync.Mutex // over the other gateways' files
}

func openLedger(dir, name string, o LedgerOptions) (*ledger, error) {
	if !safeName(name) {
		return nil, errs.New(errs.Invalid, "gateway name %q: want letters, digits, dots and dashes, because it names files", name)
	}
	l := &ledger{dir: dir, name: name, o: o}
	own := filepath.Join(dir, name)
	if err := os.MkdirAll(own, 0o700); err != nil {
		return nil, errs.New(errs.Unavailable, "cannot make the ledger's directory: %w", err)
	}
	files, err := ledgerFiles(own)
	if err != nil {
		return nil, errs.New(errs.Unavailable, "cannot read the ledger's directory: %w", err)
	}
	if len(files) > 0 {
		l.num = files[len(files)-1]
	}
	// A new run begins a new file: the last line of the old one may be torn.
	return l, l.begin()
}

// head is the first line of a file. It says what came before, so that whoever holds a copy sees whether anything is missing in between, and
// that the ledger has begun before anything was acknowledged.
type head struct {
	At int64 `json:"at"`
	// After is the file before, Size how much of it is whole lines; 0: it is the first one.
	After uint64 `json:"after,omitempty"`
	Size  int64  `json:"size,omitempty"`
	// Lost are entries between the two that were not kept.
	Lost int64 `json:"lost,omitempty"`
}

// begin opens a new file. Its number is the time, so that it is later than all before it even where those were deleted.
func (l *ledger) begin() error {
	before, num := l.num, max(l.num+1, uint64(time.Now().UnixMilli()))
	l.mu.Lock()
	h := head{At: int64(num), After: before, Lost: l.lost}
	l.mu.Unlock()
	if before != 0 {
		size, err := wholeLines(l.path(l.name, before))
		if err != nil {
			h.After = 0 // nobody can say that it is whole
		}
		h.Size = size
	}
	line, err := json.Marshal(h)
	if err != nil {
		return errs.New(errs.Internal, "cannot begin a file of the ledger: %w", err)
	}
	f, err := os.OpenFile(l.path(l.name, num), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return errs.New(errs.Unavailable, "cannot open the ledger: %w", err)
	}
	if _, err := f.Write(append(line, '\n')); err != nil {
		_ = f.Close()
		_ = os.Remove(l.path(l.name, num)) // nothing was in it
		return errs.New(errs.Unavailable, "cannot begin a file of the ledger: %w", err)
	}
	l.mu.Lock()
	l.lost -= h.Lost
	l.mu.Unlock()
	l.num, l.file, l.size = num, f, int64(len(line)+1)
	return nil
}

// wholeLines is the size of a file without a torn last line.
func wholeLines(path string) (int64, error) {
	text, err := os.ReadFile(path)
	return int64(bytes.LastIndexByte(text, '\n') + 1), err
}

// headOf reads the first line of a file.
func headOf(path string) (head, error) {
	var h head
	f, err := os.Open(path)
	if err != nil {
		return h, err
	}
	defer f.Close()
	err = json.NewDecoder(io.LimitReader(f, 1<<10)).Decode(&h)
	return h, err
}

func (l *ledger) path(gateway string, num uint64) string {
	return filepath.Join(l.dir, gateway, fmt.Sprintf("%016d.ndjson", num))
}

// ledgerFiles lists the numbers of a gateway's files, oldest first.
func ledgerFiles(dir string) ([]uint64, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var nums []uint64
	for _, e := range entries {
		if base, ok := strings.CutSuffix(e.Name(), ".ndjson"); ok {
			if n, err := strconv.ParseUint(base, 10, 64); err == nil {
				nums = append(nums, n)
			}
		}
	}
	slices.Sort(nums)
	return nums, nil
}

func safeName(s string) bool {
	if s == "" || len(s) > 64 || strings.Trim(s, ".") == "" {
		return false
	}
	for _, c := range s {
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '-' && c != '.' {
			return false
		}
	}
	return true
}

// record notes the acknowledged write of an exchange; refusals, also replayed ones, are none. It never waits for a disk.
func (g *Gateway) record(x *exchange) {
	done := x.outcome == route.Committed || x.outcome == route.Replayed
	if g.ledger == nil || x.idem == nil || !done || x.ctx.Response.StatusCode() >= 400 {
		return
	}
	if g.ledger.append(x, time.Now().UnixMilli()) {
		g.metrics.ledgerEntries.Inc()
	} else {
		g.metrics.ledgerDropped.Inc()
	}
}

func (l *ledger) append(x *exchange, at int64) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed || len(l.buf) > l.o.Buffer {
		l.lost++
		return false
	}
	b := append(l.buf, `{"at":`...)
	b = strconv.AppendInt(b, at, 10)
	b = append(b, `,"system":"`...)
	b = append(b, x.system.ID...)
	b = append(b, `","unit":"`...)
	b = append(b, x.unit.entry.Unit...)
	b = append(b, `","ownership":`...)
	b = appendJSONBytes(b, x.stamp)
	b = append(b, `,"caller":`...)
	b = appendJSONBytes(b, x.caller)
	b = append(b, `,"routingKey":`...)
	b = appendJSONBytes(b, x.key)
	b = append(b, `,"key":`...)
	b = appendJSONBytes(b, x.idem)
	if len(x.receipt) == 0 || len(x.receipt) > maxReceipt || !json.Valid(x.receipt) {
		b = append(b, `,"unknown":true`...)
	} else {
		b = append(b, `,"receipt":`...)
		b = append(b, x.receipt...) // a header value has no line ends
	}
	l.buf = append(b, '}', '\n')
	return true
}

// appendJSONBytes appends text as a JSON string. A routing key may be of any letters, and is compared later: only what no text has, and
// no database would have taken, is replaced.
func appendJSONBytes(b, s []byte) []byte {
	b = append(b, '"')
	text := utf8.Valid(s)
	for _, c := range s {
		switch {
		case c == '"' || c == '\\':
			b = append(b, '\\', c)
		case c < 0x20 || c == 0x7f || c > 0x7f && !text:
			b = append(b, '?')
		default:
			b = append(b, c)
		}
	}
	return append(b, '"')
}

// run writes what was noted until ctx ends.
func (l *ledger) run(ctx context.Context, failed func(error)) {
	tick := time.NewTicker(l.o.Every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			if err := l.flush(); err != nil {
				failed(err)
			}
		}
	}
}

// flush writes the buffer to the file and begins a new file where it is full. After a failed write the entries are lost and
// the next ones go to a new file, which says so; a torn line stays the last one of its file.
func (l *ledger) flush() error {
	l.writing.Lock()
	defer l.writing.Unlock()
	l.mu.Lock()
	full, lost := l.buf, l.lost
	l.buf, l.spare = l.spare[:0], nil
	l.mu.Unlock()
	defer func() {
		l.mu.Lock()
		l.spare = full[:0]
		l.mu.Unlock()
	}()
	if len(full) == 0 && lost == 0 {
		return nil
	}
	if l.file == nil {
		if err := l.begin(); err != nil {
			l.missed(full)
			return err
		}
		lost = 0 // it is in the head
	}
	n, err := l.file.Write(full)
	l.size += int64(n)
	if err != nil {
		l.missed(full[n:])
	}
	if err == nil && l.size < l.o.FileBytes && lost == 0 {
		return nil
	}
	if e := l.file.Close(); err == nil {
		err = e
	}
	l.file = nil
	if e := l.prune(l.name); err == nil {
		err = e
	}
	return err
}

// missed counts the entries of a text that is not in the file: one that was cut short is among them.
func (l *ledger) missed(text []byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lost += int64(bytes.Count(text, []byte{'\n'}))
}

// prune removes a gateway's oldest files beyond the number kept.
func (l *ledger) prune(gateway string) error {
	files, err := ledgerFiles(filepath.Join(l.dir, gateway))
	if err != nil {
		return err
	}
	for len(files) > l.o.Files {
		if err := os.Remove(l.path(gateway, files[0])); err != nil {
			return err
		}
		files = files[1:]
	}
	return nil
}

// close writes what is left and syncs it; nothing is noted afterwards.
func (l *ledger) close() error {
	l.mu.Lock()
	l.closed = true
	l.mu.Unlock()
	err := l.flush()
	l.writing.Lock()
	defer l.writing.Unlock()
	if l.file == nil {
		return err
	}
	if e := l.file.Sync(); err == nil {
		err = e
	}
	if e := l.file.Close(); err == nil {
		err = e
	}
	l.file = nil
	return err
}

// gateways lists all whose ledgers are held here.
func (l *ledger) gateways() ([]string, error) {
	entries, err := os.ReadDir(l.dir)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, e := range entries {
		if e.IsDir() && safeName(e.Name()) {
			names = append(names, e.Name())
		}
	}
	return names, nil
}

// each calls do with every entry of all gateways that the filter lets through, file by file, oldest first within a gateway.
// Torn lines are left out.
func (l *ledger) each(f ledgerFilter, do func(*Entry) error) error {
	names, err := l.gateways()
	if err != nil {
		return err
	}
	for _, name := range names {
		if f.from != "" && f.from != name {
			continue
		}
		files, err := ledgerFiles(filepath.Join(l.dir, name))
		if err != nil {
			return err
		}
		for i, num := range files {
			if i+1 < len(files) && int64(files[i+1]) < f.since {
				continue // all of it was written before the next one was begun
			}
			b, err := os.ReadFile(l.path(name, num))
			if os.IsNotExist(err) {
				continue // pruned meanwhile
			}
			if err != nil {
				return err
			}
			for len(b) > 0 {
				end := bytes.IndexByte(b, '\n')
				if end < 0 {
					break
				}
				var e Entry
				if json.Unmarshal(b[:end], &e) == nil && e.Key != "" && f.passes(&e) {
					e.From = name
					if err := do(&e); err != nil {
						return err
					}
				}
				b = b[end+1:]
			}
		}
	}
	return nil
}

// LedgerEnd says how much of a gateway's ledger is held somewhere.
type LedgerEnd struct {
	// From is the gateway whose ledger it is.
	From string `json:"from"`
	// Begins is from when on it has every entry, Grown when it last grew, by the clock of whoever holds it; Unix milliseconds.
	Begins int64 `json:"begins"`
	Grown  int64 `json:"grown"`
	// File and Offset are its end. Copies are the same byte for byte: the one that ends last has the most.
	File   uint64 `json:"file"`
	Offset int64  `json:"offset"`
}

// ends lists the ledgers that are held here; those without a line are left out.
func (l *ledger) ends() ([]LedgerEnd, error) {
	names, err := l.gateways()
	if err != nil {
		return nil, err
	}
	var ends []LedgerEnd
	for _, name := range names {
		files, err := ledgerFiles(filepath.Join(l.dir, name))
		if err != nil {
			return nil, err
		}
		if len(files) == 0 {
			continue
		}
		last := files[len(files)-1]
		st, err := os.Stat(l.path(name, last))
		if err != nil {
			return nil, err
		}
		begins, err := l.begins(name, files)
		if err != nil {
			return nil, err
		}
		ends = append(ends, LedgerEnd{From: name, Begins: begins, Grown: st.ModTime().UnixMilli(), File: last, Offset: st.Size()})
	}
	return ends, nil
}

// begins is since when every entry of a gateway is here: since the beginning of the oldest file after which none is missing.
func (l *ledger) begins(name string, files []uint64) (int64, error) {
	for i := len(files) - 1; i > 0; i-- {
		h, err := headOf(l.path(name, files[i]))
		if err != nil && !os.IsNotExist(err) && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
			return 0, err
		}
		size := int64(-1) // it was pruned meanwhile
		switch before, err := os.Stat(l.path(name, files[i-1])); {
		case err == nil:
			size = before.Size()
		case !os.IsNotExist(err):
			return 0, err
		}
		if h.After != files[i-1] || h.Lost != 0 || size < h.Size {
			return int64(files[i]), nil
		}
	}
	return int64(files[0]), nil
}

// ledgerFilter says which entries are wanted; empty fields want all.
type ledgerFilter struct {
	system, unit, from string
	since              int64 // Unix milliseconds
}

func (f *ledgerFilter) passes(e *Entry) bool {
	return (f.system == "" || e.System == f.system) && (f.unit == "" || e.Unit == f.unit) && e.At >= f.since
}
