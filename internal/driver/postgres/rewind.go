package postgres

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"perdure/internal/driver"
	"perdure/internal/errs"
	"perdure/internal/estate"
)

// rewinding is the journal of a rewind. While it is there, the directory is half another server's: nothing starts it.
//
//	running  pg_rewind may have changed the directory; its own log and control file are kept aside, so that it can be repeated
//	rewound  pg_rewind is through; the member's own configuration is to be written
type rewinding struct {
	Phase      string          `json:"phase"`
	Successor  driver.Upstream `json:"successor"`
	Comparison comparison      `json:"comparison"`
}

func (d *Database) savedDir() string { return filepath.Join(d.o.RunDir, "rewind") }

// Rewind turns a stopped former owner, or a copy that is ahead, into a standby of the successor. It is repeated over a kill at
// any point. An error of kind Refused means that the directory has to be copied anew; anything else can be tried again.
func (d *Database) Rewind(ctx context.Context, successor driver.Upstream, progress driver.Progress) error {
	done, err := d.begin(ctx, "rewind")
	if err != nil {
		return err
	}
	defer done()
	if d.attach() != nil {
		return errs.New(errs.Conflict, "cannot rewind %s while its server runs: stop it first", d.o.Member)
	}
	killRemains(d.o.DataDir)
	if d.directory() == driver.Empty {
		return errs.Refuse("I6", "%s has no database to rewind: copy it anew", d.o.Member)
	}
	address, err := d.resolve(ctx, successor)
	if err != nil {
		return err
	}
	if err := d.writePass(); err != nil {
		return err
	}
	var j rewinding
	resumed, err := d.readJournal("rewind", &j)
	if err != nil {
		return err
	}
	if resumed {
		err = d.resumeRewind(ctx, &j, successor)
	} else {
		err = d.beginRewind(ctx, &j, successor, address)
	}
	if err != nil {
		return err
	}
	if j.Phase == "running" {
		if err := d.pgRewind(ctx, successor, address, progress); err != nil {
			return err
		}
		j.Phase = "rewound"
		if err := d.writeJournal("rewind", j); err != nil {
			return err
		}
	}
	if err := d.returned(ctx, steering{upstream: &successor, address: address}); err != nil {
		return err
	}
	if err := removeFile(d.journalFile("rewind")); err != nil {
		return err
	}
	d.mu.Lock()
	d.controlled, d.tally = controlled{}, tallyState{}
	d.mu.Unlock()
	return os.RemoveAll(d.savedDir())
}

// beginRewind tries everything that can fail while the directory is still whole, keeps aside what a repetition needs and
// writes the journal. Where nothing diverged there is nothing to rewind, only a configuration to write.
func (d *Database) beginRewind(ctx context.Context, j *rewinding, successor driver.Upstream, address string) error {
	c, err := d.compare(ctx, successor)
	if err != nil {
		return err
	}
	// Looked at before the recovery that pg_rewind needs: that one writes a checkpoint of its own.
	if c.Fork != 0 && c.At <= c.Fork {
		switch log, err := d.readLog(ctx, c.spans, c.Fork); {
		case err == nil && log.end == 0:
			d.log.Info("nothing was written since the histories parted: it follows without a rewind", "fork", c.Fork)
			*j = rewinding{Phase: "rewound", Successor: successor, Comparison: c}
			return d.writeJournal("rewind", j)
		case err != nil && !errors.Is(err, errLogGone):
			return err
		}
	}
	if err := d.cleanlyStopped(ctx); err != nil {
		return err
	}
	c, err = d.compare(ctx, successor)
	if err != nil {
		return err
	}
	*j = rewinding{Phase: "rewound", Successor: successor, Comparison: c}
	if c.Fork == 0 {
		// Timelines are only numbers: an owner on the number of its successor is somebody else's history (H13).
		if d.directory() == driver.Primary || c.At > c.Position {
			return errs.Refuse("I6", "%s is on timeline %d of %s and not behind it: copy it anew", d.o.Member, c.Timeline, successor.Member)
		}
		return d.writeJournal("rewind", j)
	}
	// A rewind needs the successor's control file to know its timeline.
	if err := d.checkpointAt(ctx, successor); err != nil {
		return err
	}
	out, err := d.rewindCommand(ctx, successor, address, "--dry-run").CombinedOutput()
	if err != nil {
		return d.rewindFailed(ctx, string(out), err)
	}
	if bytes.Contains(out, []byte("no rewind required")) {
		return d.writeJournal("rewind", j)
	}
	m := commonCheckpoint.FindSubmatch(out)
	if m == nil {
		return errs.Refuse("I6", "pg_rewind did not say from where it rewinds %s: copy it anew", d.o.Member)
	}
	common, err := estate.ParseLSN(string(m[1]))
	if err != nil {
		return errs.Refuse("I6", "pg_rewind did not say from where it rewinds %s: copy it anew", d.o.Member)
	}
	if err := d.keepAside(ctx, common); err != nil {
		return err
	}
	j.Phase = "running"
	return d.writeJournal("rewind", j)
}

var commonCheckpoint = regexp.MustCompile(`last common checkpoint at ([0-9A-F]+/[0-9A-F]+)`)

// resumeRewind brings back what pg_rewind reads of the former owner itself, so that it finds the same changed pages again.
func (d *Database) resumeRewind(ctx context.Context, j *rewinding, successor driver.Upstream) error {
	if j.Phase == "rewound" { // only the configuration is missing
		return nil
	}
	theirs, err := d.askHistory(ctx, successor)
	if err != nil {
		return err
	}
	if theirs.SystemID != j.Comparison.SystemID || theirs.Timeline != j.Comparison.Timeline {
		return errs.Refuse("I6", "a rewind of %s onto another timeline was cut short: copy it anew", d.o.Member)
	}
	d.log.Info("a rewind that was cut short is repeated", "successor", successor.Member)
	if err := d.checkpointAt(ctx, successor); err != nil {
		return err
	}
	if err := removeFile(filepath.Join(d.o.DataDir, "backup_label")); err != nil {
		return err
	}
	return d.bringBack()
}

// cleanlyStopped recovers a directory whose server was killed, without listeners: pg_rewind wants it stopped cleanly.
func (d *Database) cleanlyStopped(ctx context.Context) error {
	values, err := d.controlData(ctx, d.o.DataDir)
	if err != nil {
		return errs.Refuse("I6", "%w: copy it anew", err)
	}
	switch values["Database cluster state"] {
	case "shut down", "shut down in recovery":
		return nil
	}
	if err := d.configure(); err != nil {
		return err
	}
	if err := d.steer(d.o.DataDir, steering{}, true); err != nil {
		return err
	}
	return d.private(ctx, d.o.DataDir, "postgres", nil)
}

func (d *Database) checkpointAt(ctx context.Context, successor driver.Upstream) error {
	conn, err := d.dialUpstream(ctx, successor, false)
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	_, err = conn.Exec(ctx, "checkpoint")
	return failed(err, "cannot make a checkpoint on %s", successor.Member)
}

func (d *Database) rewindCommand(ctx context.Context, successor driver.Upstream, address string, more ...string) *program {
	args := []string{
		"--target-pgdata=" + d.o.DataDir, "--source-server=" + d.conninfo(successor, address, "rewind-of-"+string(d.o.Member)),
		"--config-file=" + d.configFile(), "--no-ensure-shutdown",
	}
	return d.program(ctx, "pg_rewind", append(args, more...)...)
}

func (d *Database) pgRewind(ctx context.Context, successor driver.Upstream, address string, progress driver.Progress) error {
	last, err := d.rewindCommand(ctx, successor, address, "--progress").withProgress("rewinding onto "+string(successor.Member), progress)
	if err != nil {
		return d.rewindFailed(ctx, last, err)
	}
	return nil
}

// rewindFailed tells what a copy anew would mend from what another try would.
func (d *Database) rewindFailed(ctx context.Context, out string, err error) error {
	line := complaint(out)
	for _, transient := range []string{"could not connect", "connection to server", "could not fetch", "server closed", "no connection", "terminating connection", "shutting down", "starting up", "timeout"} {
		if ctx.Err() != nil || strings.Contains(out, transient) {
			return errs.New(errs.Unavailable, "rewinding %s was cut short: %s (%w)", d.o.Member, line, err)
		}
	}
	if strings.Contains(err.Error(), "signal") {
		return errs.New(errs.Unavailable, "rewinding %s was cut short (%w)", d.o.Member, err)
	}
	refused := errs.New(errs.Refused, "cannot rewind %s: %s (%w): copy it anew", d.o.Member, line, err)
	refused.Invariant = "I6"
	return refused
}

// keepAside copies the control file and the log from the common checkpoint on, durably.
func (d *Database) keepAside(ctx context.Context, common estate.LSN) error {
	saved := d.savedDir()
	if err := os.RemoveAll(saved); err != nil {
		return errs.New(errs.Unavailable, "cannot clear %s: %w", saved, err)
	}
	if err := d.makeDir(saved); err != nil {
		return err
	}
	size, err := d.segments(ctx)
	if err != nil {
		return err
	}
	wal := filepath.Join(d.o.DataDir, "pg_wal")
	entries, err := os.ReadDir(wal)
	if err != nil {
		return errs.New(errs.Unavailable, "cannot read %s: %w", wal, err)
	}
	for _, e := range entries {
		name := e.Name()
		number, isSegment := size.number(name)
		if isSegment && number < size.of(common) || !isSegment && !strings.HasSuffix(name, ".history") {
			continue
		}
		if err := d.copyFile(filepath.Join(wal, name), filepath.Join(saved, name)); err != nil {
			return err
		}
	}
	if err := d.copyFile(filepath.Join(d.o.DataDir, "global", "pg_control"), filepath.Join(saved, "pg_control")); err != nil {
		return err
	}
	return syncDir(saved)
}

func (d *Database) bringBack() error {
	entries, err := os.ReadDir(d.savedDir())
	if err != nil {
		return errs.Refuse("I6", "what a repeated rewind of %s needs was lost: copy it anew", d.o.Member)
	}
	for _, e := range entries {
		to := filepath.Join(d.o.DataDir, "pg_wal", e.Name())
		if e.Name() == "pg_control" {
			to = filepath.Join(d.o.DataDir, "global", "pg_control")
		}
		if err := d.copyFile(filepath.Join(d.savedDir(), e.Name()), to); err != nil {
			return err
		}
	}
	return nil
}

// copyFile copies a file of the server's user durably; a file that is there is replaced as a whole.
func (d *Database) copyFile(from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return errs.New(errs.Unavailable, "cannot copy %s: %w", from, err)
	}
	defer in.Close()
	temp := to + ".copy"
	if err := removeFile(temp); err != nil {
		return err
	}
	out, err := os.OpenFile(temp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return errs.New(errs.Unavailable, "cannot copy to %s: %w", to, err)
	}
	_, err = io.Copy(out, in)
	if err == nil && d.cred != nil {
		err = out.Chown(d.uid, d.gid)
	}
	if err == nil {
		err = out.Sync()
	}
	if cerr := out.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = os.Rename(temp, to)
	}
	if err != nil {
		return errs.New(errs.Unavailable, "cannot copy %s to %s: %w", from, to, err)
	}
	return syncDir(filepath.Dir(to))
}
