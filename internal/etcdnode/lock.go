package etcdnode

import (
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"perdure/internal/errs"
)

// lockDir takes the directory for this process, or refuses at once: etcd itself would wait for the other process without end.
// The lock ends with the file, so a killed process leaves none.
func lockDir(dir string) (*os.File, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, errs.New(errs.Unavailable, "cannot make the store's directory: %w", err)
	}
	f, err := os.OpenFile(filepath.Join(dir, "store.lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, errs.New(errs.Unavailable, "cannot lock the store's directory: %w", err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		_ = f.Close()
		return nil, errs.New(errs.Conflict, "another process uses the store in %s: stop that node first: %w", dir, err)
	}
	return f, nil
}
