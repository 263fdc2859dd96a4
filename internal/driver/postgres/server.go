package postgres

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"perdure/internal/driver"
	"perdure/internal/errs"
	"perdure/internal/estate"
)

// Start starts the server as the directory says and returns when it takes connections: an owner's directory closed and
// without sync names, a copy's as a follower of whom it followed, under the name of the life. A server that runs is taken as it is,
// but a copy follows under the new name.
func (d *Database) Start(ctx context.Context, life estate.Life) error {
	done, err := d.begin(ctx, "start")
	if err != nil {
		return err
	}
	defer done()
	return d.start(ctx, life)
}

func (d *Database) start(ctx context.Context, life estate.Life) error {
	kind := d.directory()
	if err := d.startable(kind); err != nil {
		return err
	}
	if d.attach() != nil {
		if kind == driver.Standby {
			if s, own := d.steered(d.o.DataDir); own && s.upstream != nil && s.life != life.String() {
				s.life = life.String()
				if err := d.steer(d.o.DataDir, s, true); err != nil {
					return err
				}
				if err := d.running().reload(); err != nil {
					return err
				}
			}
		}
		return d.awaitReady(ctx, d.running())
	}
	if kind == driver.Primary {
		if err := d.unpromote(ctx); err != nil {
			return err
		}
		kind = d.directory()
	}
	if err := d.prepareStart(ctx, kind, life); err != nil {
		return err
	}
	p, err := d.launch(d.o.DataDir, "start.log", d.arguments(life.String()))
	if err != nil {
		return err
	}
	d.mu.Lock()
	d.proc = p
	d.mu.Unlock()
	return d.awaitReady(ctx, p)
}

// unpromote makes a directory a copy's again whose promotion was cut short before it was one. A server that is promoted removes the signal
// file a moment before its log and its control file say that the new timeline has begun; started without the file it would recover as after
// any crash, and write on the timeline it shares with its predecessor, so that nobody could tell their logs apart. It stays severed.
func (d *Database) unpromote(ctx context.Context) error {
	values, err := d.controlData(ctx, d.o.DataDir)
	if err != nil || values["Database cluster state"] != "in archive recovery" {
		return err
	}
	d.log.Warn("the promotion was cut short before it took effect: the directory starts as a copy", "dir", d.o.DataDir)
	return d.writeFile(filepath.Join(d.o.DataDir, "standby.signal"), "", true)
}

func (d *Database) startable(kind driver.Directory) error {
	switch {
	case kind == driver.Empty:
		return errs.New(errs.NotFound, "cannot start %s: %s holds no database; create or copy one", d.o.Member, d.o.DataDir)
	case exists(d.journalFile("rewind")):
		return errs.Refuse("I6", "cannot start %s: a rewind was cut short, the directory is half another server's; rewind it again or copy it anew", d.o.Member)
	case exists(filepath.Join(d.o.DataDir, "recovery.signal")):
		return errs.Refuse("I6", "cannot start %s: recovery.signal asks for a point-in-time recovery, which the agent does not run; remove it or copy the directory anew", d.o.Member)
	}
	return nil
}

// prepareStart writes everything that decides what the server will be, before it can be anything (I6).
func (d *Database) prepareStart(ctx context.Context, kind driver.Directory, life estate.Life) error {
	if err := d.configure(); err != nil {
		return err
	}
	if err := d.block(d.o.DataDir); err != nil {
		return err
	}
	s, own := d.steered(d.o.DataDir)
	next := steering{life: life.String()}
	if kind == driver.Standby && own && s.upstream != nil {
		next.upstream, next.address = s.upstream, s.address
		if address, err := d.resolve(ctx, *s.upstream); err == nil {
			next.address = address
		}
		if err := d.writePass(); err != nil {
			return err
		}
	}
	return d.steer(d.o.DataDir, next, true)
}

// awaitReady returns when the server takes connections. A copy that needs log from its upstream to become consistent may not
// before it has it; it goes on by itself.
func (d *Database) awaitReady(ctx context.Context, p *process) error {
	if p == nil { // it was there a moment ago
		return errs.New(errs.Unavailable, "PostgreSQL on %s ended while it was starting: see %s", d.o.DataDir, filepath.Join(d.o.RunDir, "log"))
	}
	err := poll(ctx, func() (bool, error) {
		select {
		case <-p.dead:
			return false, d.startFailed(p)
		default:
		}
		lines := linesOf(filepath.Join(d.o.DataDir, "postmaster.pid"))
		// A killed server leaves its file behind: it speaks for this one only under this one's number.
		return len(lines) > 7 && lines[0] == strconv.Itoa(p.pid) && strings.TrimSpace(lines[7]) == "ready", nil
	})
	if err != nil && ctx.Err() != nil {
		return errs.New(errs.Unavailable, "%s runs but does not take connections yet: it is recovering; wait", d.o.Member)
	}
	return err
}

// linesOf gives the lines of a small file, none where there is no such file.
func linesOf(path string) []string {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil
	}
	return strings.Split(string(text), "\n")
}

func (d *Database) startFailed(p *process) error {
	// The log collector ends after the server, when it has written all.
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	_ = poll(ctx, func() (bool, error) { return len(serverProcesses(d.o.DataDir)) == 0, nil }) // what it has not written is not told
	return errs.New(errs.Unavailable, "PostgreSQL on %s ended while it was starting: %s", d.o.DataDir, d.lastWords(p.seen))
}

// lastWords gives what the server complained about last since a time, from all of its logs: the collector begins one of its own.
func (d *Database) lastWords(since time.Time) string {
	from := since.Add(-time.Second).UTC().Format("2006-01-02 15:04:05.000")
	dir := filepath.Join(d.o.RunDir, "log")
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err.Error()
	}
	type complaint struct{ at, text string }
	var said []complaint
	for _, e := range entries {
		text, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			continue
		}
		lines := strings.Split(strings.TrimSpace(string(text[max(0, len(text)-1<<16):])), "\n")
		for _, line := range lines[max(0, len(lines)-30):] {
			for _, level := range []string{"FATAL:", "PANIC:", "ERROR:", "LOG:", "HINT:"} {
				_, rest, ok := strings.Cut(line, level)
				if ok && (level != "LOG:" && level != "HINT:" || strings.Contains(rest, "could not")) && len(line) > 23 && line[:23] >= from {
					said = append(said, complaint{line[:23], strings.TrimSpace(rest)})
				}
			}
		}
	}
	slices.SortStableFunc(said, func(a, b complaint) int { return strings.Compare(a.at, b.at) })
	var words []string
	for _, c := range said[max(0, len(said)-3):] {
		words = append(words, c.text)
	}
	if len(words) == 0 {
		return "see " + dir
	}
	return strings.Join(words, "; ")
}

// Stop ends the server.
func (d *Database) Stop(ctx context.Context, immediate bool) error {
	done, err := d.begin(ctx, "stop")
	if err != nil {
		return err
	}
	defer done()
	return d.stop(ctx, immediate)
}

func (d *Database) stop(ctx context.Context, immediate bool) error {
	p := d.attach()
	if p == nil {
		killRemains(d.o.DataDir)
		if pid := postmasterOf(d.o.DataDir); pid != 0 { // nobody may take for dead what cannot be watched (I8)
			return errs.New(errs.Unavailable, "cannot stop server process %d: the agent cannot watch it; see whether it is out of file descriptors", pid)
		}
		return nil
	}
	if err := p.end(ctx, immediate); err != nil {
		return err
	}
	d.running() // forgets it
	return nil
}
