package gateway

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"perdure/internal/errs"
	"perdure/internal/route"
)

// onDisk is the form of table.json: the input and a sum over it, so that a torn or altered file is noticed.
type onDisk struct {
	Sum   string          `json:"sum"`
	Input json.RawMessage `json:"input"`
}

func (g *Gateway) tablePath() string { return filepath.Join(g.o.Data, "table.json") }

// loadTable takes the table of the last run, if there is one.
func (g *Gateway) loadTable() error {
	if g.o.Data == "" {
		return nil
	}
	left, _ := filepath.Glob(filepath.Join(g.o.Data, ".table-*"))
	for _, half := range left { // of a run that was killed while it wrote
		if err := os.Remove(half); err != nil {
			return errs.New(errs.Unavailable, "cannot clean up %s: %w", half, err)
		}
	}
	b, err := os.ReadFile(g.tablePath())
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return errs.New(errs.Unavailable, "cannot read the table on disk: %w", err)
	}
	var d onDisk
	var in route.Input
	if err := json.Unmarshal(b, &d); err == nil && d.Sum == sumOf(d.Input) {
		err = json.Unmarshal(d.Input, &in)
		if err == nil {
			g.take(in)
			select {
			case <-g.save: // it is on disk already
			default:
			}
			g.onDisk = in
			g.saved.Store(in.Version)
			g.log.Info("table loaded from disk", "version", in.Version)
			return nil
		}
	}
	// A file that cannot be trusted must not keep the gateway from starting: the source has a better one.
	aside := g.tablePath() + ".bad"
	g.log.Error("the table on disk is damaged: it is put aside and waits for the source", "file", aside)
	return os.Rename(g.tablePath(), aside)
}

// keepTable writes the newest table to disk whenever it has changed; versions in between may be left out.
func (g *Gateway) keepTable() {
	if g.o.Data == "" {
		return
	}
	for {
		select {
		case <-g.ctx.Done():
			select {
			case <-g.save: // asked for, not yet done
				g.saveTable()
			default:
			}
			return
		case <-g.save:
		}
		if g.saveTable() {
			continue
		}
		select {
		case <-g.ctx.Done():
			return
		case <-time.After(time.Second):
			poke(g.save)
		}
	}
}

func (g *Gateway) saveTable() bool {
	in := g.view.Load().table.Input()
	if in.RoutesLike(g.onDisk) {
		return true // renewed registrations and the like: nothing that a restart would miss
	}
	if err := writeTable(g.tablePath(), in); err != nil {
		g.metrics.tableSaveFailures.Inc()
		g.log.Error("the table could not be written to disk: after a restart without the control plane the gateway would route by an older one", "error", err)
		return false
	}
	g.metrics.tableSaves.Inc()
	g.onDisk = in
	g.saved.Store(in.Version)
	return true
}

// writeTable replaces the file atomically and durably.
func writeTable(path string, in route.Input) error {
	input, err := json.Marshal(in)
	if err != nil {
		return err
	}
	b, err := json.Marshal(onDisk{Sum: sumOf(input), Input: input})
	if err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".table-*")
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	if err == nil {
		err = f.Sync()
	}
	if e := f.Close(); err == nil {
		err = e
	}
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		os.Remove(f.Name())
		return err
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	defer dir.Close()
	return dir.Sync()
}

func sumOf(b []byte) string {
	s := sha256.Sum256(b)
	return hex.EncodeToString(s[:])
}
