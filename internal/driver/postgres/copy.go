package postgres

import (
	"context"
	"os"
	"path/filepath"

	"perdure/internal/driver"
	"perdure/internal/errs"
)

// swap is the journal of putting a complete new directory in the place of the old one.
type swap struct {
	New string `json:"new"`
	Old string `json:"old"`
}

// swapIn gives a complete directory the name of the data directory, over a crash at any point: the journal says where the
// new one lies, and whoever finds the journal goes forward.
func (d *Database) swapIn(fresh string) error {
	if err := d.writeJournal("swap", swap{New: fresh, Old: d.o.DataDir + ".old"}); err != nil {
		return err
	}
	return d.finishSwap()
}

func (d *Database) finishSwap() error {
	var s swap
	found, err := d.readJournal("swap", &s)
	if err != nil || !found {
		return err
	}
	if exists(filepath.Join(s.New, "PG_VERSION")) {
		if exists(d.o.DataDir) {
			// An old directory that is still aside here is the one of an earlier, finished swap.
			if err := d.discard(s.Old); err != nil {
				return err
			}
			if err := d.discardServer(d.o.DataDir); err != nil {
				return err
			}
			if err := os.Rename(d.o.DataDir, s.Old); err != nil {
				return errs.New(errs.Unavailable, "cannot put %s aside (is it a mount point? use a directory below it): %w", d.o.DataDir, err)
			}
		}
		if err := os.Rename(s.New, d.o.DataDir); err != nil {
			return errs.New(errs.Unavailable, "cannot put %s in place: %w", s.New, err)
		}
		if err := syncDir(filepath.Dir(d.o.DataDir)); err != nil {
			return err
		}
	}
	// What was half rewound is gone with the old directory.
	if err := removeFile(d.journalFile("rewind")); err != nil {
		return err
	}
	if err := removeFile(d.journalFile("swap")); err != nil {
		return err
	}
	d.mu.Lock()
	d.sysID, d.controlled, d.tally = "", controlled{}, tallyState{}
	d.mu.Unlock()
	if err := os.RemoveAll(s.Old); err != nil {
		d.log.Warn("the replaced directory could not be removed", "dir", s.Old, "err", err)
	}
	return os.RemoveAll(d.savedDir())
}

// discardServer ends a server that still runs on a directory that is about to be put aside.
func (d *Database) discardServer(dir string) error {
	if postmasterOf(dir) != 0 {
		return errs.New(errs.Conflict, "a server runs on %s: stop it first", dir)
	}
	killRemains(dir)
	return nil
}

// Reinitialise makes the directory a copy of the upstream by base backup. The new copy is made beside the old directory and
// takes its place when it is complete; it starts as a follower of the upstream.
func (d *Database) Reinitialise(ctx context.Context, upstream driver.Upstream, progress driver.Progress) error {
	done, err := d.begin(ctx, "copy anew")
	if err != nil {
		return err
	}
	defer done()
	if d.attach() != nil {
		return errs.New(errs.Conflict, "cannot copy %s anew while its server runs: stop it first", d.o.Member)
	}
	killRemains(d.o.DataDir)
	address, err := d.resolve(ctx, upstream)
	if err != nil {
		return err
	}
	if err := d.writePass(); err != nil {
		return err
	}
	if err := d.configure(); err != nil {
		return err
	}
	fresh := d.o.DataDir + ".new"
	if err := d.discard(fresh); err != nil {
		return err
	}
	if err := d.makeDir(fresh); err != nil {
		return err
	}
	backup := d.program(ctx, "pg_basebackup", "--pgdata="+fresh, "--dbname="+d.conninfo(upstream, address, "copy-of-"+string(d.o.Member)),
		"--wal-method=stream", "--slot="+SlotOf(d.o.Member), "--checkpoint=fast", "--progress", "--no-password")
	if said, err := backup.withProgress("copying "+string(upstream.Member), progress); err != nil {
		_ = os.RemoveAll(fresh) // it may be the disk that is full
		return errs.New(errs.Unavailable, "cannot copy %s from %s: %s (%w)", d.o.Member, upstream.Member, complaint(said), err)
	}
	if err := d.adoptCopy(fresh, steering{upstream: &upstream, address: address}); err != nil {
		return err
	}
	return d.swapIn(fresh)
}

// adoptCopy makes files that came from another server this member's: nothing of the other's configuration stays (H13).
func (d *Database) adoptCopy(dir string, s steering) error {
	if err := d.steer(dir, s, true); err != nil {
		return err
	}
	for _, name := range []string{"recovery.signal", "postmaster.opts", "current_logfiles"} {
		if err := removeFile(filepath.Join(dir, name)); err != nil {
			return err
		}
	}
	if err := d.block(dir); err != nil {
		return err
	}
	return d.writeFile(filepath.Join(dir, "standby.signal"), "", true)
}
