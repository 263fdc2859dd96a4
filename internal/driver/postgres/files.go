package postgres

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"

	"perdure/internal/errs"
)

// makeDir makes a private directory of the server's user.
func (d *Database) makeDir(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return errs.New(errs.Invalid, "cannot make directory %s: %w", dir, err)
	}
	if d.cred != nil {
		if err := os.Lchown(dir, d.uid, d.gid); err != nil {
			return errs.New(errs.Invalid, "cannot give directory %s to user %s: %w", dir, d.o.User, err)
		}
	}
	return nil
}

// writeFile replaces a file of the server's user in one step. durable: it is on disk, with its name, when writeFile returns.
func (d *Database) writeFile(path, text string, durable bool) error {
	// The directory belongs to the server's user: nothing there is followed or reused.
	temp := path + ".new." + strconv.Itoa(os.Getpid())
	if err := os.Remove(temp); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return errs.New(errs.Unavailable, "cannot write %s: %w", path, err)
	}
	f, err := os.OpenFile(temp, os.O_WRONLY|os.O_CREATE|os.O_EXCL|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return errs.New(errs.Unavailable, "cannot write %s: %w", path, err)
	}
	_, err = f.WriteString(text)
	if err == nil && d.cred != nil {
		err = f.Chown(d.uid, d.gid)
	}
	if err == nil && durable {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = os.Rename(temp, path)
	}
	if err != nil {
		_ = os.Remove(temp) // the first error is the one to tell
		return errs.New(errs.Unavailable, "cannot write %s: %w", path, err)
	}
	if durable {
		return syncDir(filepath.Dir(path))
	}
	return nil
}

// removeFile removes a file durably; one that is not there is fine.
func removeFile(path string) error {
	err := os.Remove(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return errs.New(errs.Unavailable, "cannot remove %s: %w", path, err)
	}
	return syncDir(filepath.Dir(path))
}

func syncDir(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return errs.New(errs.Unavailable, "cannot sync %s: %w", dir, err)
	}
	defer f.Close()
	if err := f.Sync(); err != nil {
		return errs.New(errs.Unavailable, "cannot sync %s: %w", dir, err)
	}
	return nil
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

// openLog opens a log for appending; what is older than 16 MiB is kept once under .1.
func (d *Database) openLog(name string) (*os.File, error) {
	path := filepath.Join(d.o.RunDir, "log", name)
	if st, err := os.Stat(path); err == nil && st.Size() > 16<<20 {
		if err := os.Rename(path, path+".1"); err != nil {
			return nil, errs.New(errs.Unavailable, "cannot rotate %s: %w", path, err)
		}
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_APPEND|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, errs.New(errs.Unavailable, "cannot open %s: %w", path, err)
	}
	if d.cred != nil {
		if err := f.Chown(d.uid, d.gid); err != nil {
			_ = f.Close()
			return nil, errs.New(errs.Unavailable, "cannot open %s: %w", path, err)
		}
	}
	return f, nil
}

// A journal is a small fsynced file in RunDir that says what long work was under way.

func (d *Database) journalFile(name string) string {
	return filepath.Join(d.o.RunDir, name+".json")
}

func (d *Database) writeJournal(name string, v any) error {
	text, err := json.Marshal(v)
	if err != nil {
		return errs.New(errs.Internal, "journal %s: %w", name, err)
	}
	return d.writeFile(d.journalFile(name), string(text)+"\n", true)
}

// readJournal reports whether the journal is there. One that cannot be read is an error: what it says decides what may start.
func (d *Database) readJournal(name string, v any) (bool, error) {
	text, err := os.ReadFile(d.journalFile(name))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err == nil {
		err = json.Unmarshal(text, v)
	}
	if err != nil {
		return false, errs.New(errs.Unavailable, "cannot read %s: %w", d.journalFile(name), err)
	}
	return true, nil
}
