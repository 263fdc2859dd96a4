package agent

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"perdure/internal/errs"
	"perdure/internal/estate"
	"perdure/internal/unit"
)

const selfFile = "self.json"

func loadSelf(file string, member estate.MemberID) (unit.Self, error) {
	text, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return unit.Self{Member: member}, nil
	}
	if err != nil {
		return unit.Self{}, errs.New(errs.Internal, "cannot read the agent's own file: %w", err)
	}
	var self unit.Self
	if err := json.Unmarshal(text, &self); err != nil {
		return unit.Self{}, errs.New(errs.Invalid, "the agent's own file %s is damaged: %w; move it and the data directory aside, then the member is copied anew", file, err)
	}
	if self.Member != member {
		return unit.Self{}, errs.New(errs.Invalid, "%s belongs to member %s, not to %s: each member needs its own data directory", file, self.Member, member)
	}
	return self, nil
}

func saveSelf(file string, self unit.Self) error { return saveJSON(file, self) }

// saveJSON replaces a file so that a crash at any moment leaves the old or the new one, on disk before it returns.
func saveJSON(file string, v any) error {
	text, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err
	}
	f, err := os.OpenFile(file+".new", os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return errs.New(errs.Unavailable, "cannot write %s: %w", file, err)
	}
	_, err = f.Write(append(text, '\n'))
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(file+".new", file)
	}
	if err == nil {
		err = syncDir(filepath.Dir(file))
	}
	if err != nil {
		return errs.New(errs.Unavailable, "cannot write %s: %w", file, err)
	}
	return nil
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// lock takes the one lock of the directory and holds it until the process ends or unlock is called.
func lock(file string) (unlock func(), err error) {
	f, err := os.OpenFile(file, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, errs.New(errs.Unavailable, "cannot open the agent's lock: %w", err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		_ = f.Close()
		return nil, errs.New(errs.Conflict, "another agent holds %s: one agent per data directory [I15]", file)
	}
	return func() { _ = f.Close() }, nil
}
