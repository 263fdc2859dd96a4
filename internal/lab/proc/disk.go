package proc

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"perdure/internal/errs"
)

// Mount is a small file system of its own for a directory, so that it can be filled without filling the machine's disk.
type Mount struct {
	Dir string `json:"dir"`
}

// ErrNoRights is wrapped by faults that need rights the lab does not have; they are skipped by name.
var ErrNoRights = errors.New("the lab runs without the rights for it")

// SmallDisk puts a file system in memory of the size (bytes) at the directory, which must be empty. It needs root.
func (s *Supervisor) SmallDisk(dir string, size int64, owner *syscall.Credential) error {
	if os.Geteuid() != 0 {
		return errs.New(errs.Refused, "no small disk for %s: mounting needs root: %w", dir, ErrNoRights)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return errs.New(errs.Unavailable, "cannot make %s: %w", dir, err)
	}
	if files, err := os.ReadDir(dir); err != nil || len(files) > 0 {
		return errs.New(errs.Conflict, "cannot put a small disk at %s: it is not empty; say so before the start", dir)
	}
	options := fmt.Sprintf("size=%d,mode=0711", size)
	if owner != nil {
		options += fmt.Sprintf(",uid=%d,gid=%d", owner.Uid, owner.Gid)
	}
	m := Mount{Dir: real(dir)}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mounts = append(s.mounts, m) // written down first: a death in between leaves a record too many, never a mount
	if err := s.save(); err != nil {
		return err
	}
	if err := unix.Mount("perdure-lab", m.Dir, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, options); err != nil {
		if errors.Is(err, unix.EPERM) {
			return errs.New(errs.Refused, "no small disk for %s: mounting is not allowed here: %w", dir, ErrNoRights)
		}
		return errs.New(errs.Unavailable, "cannot mount a small disk at %s: %w", dir, err)
	}
	return nil
}

// ballast is the file that fills a disk.
const ballast = ".perdure-lab-ballast"

// FillDisk takes all free space of the small disk at the directory; FreeDisk gives it back.
// It refuses a directory that is not a small disk of the lab.
func (s *Supervisor) FillDisk(dir string) error {
	m := Mount{Dir: real(dir)}
	if !m.mounted() {
		return errs.New(errs.Refused, "cannot fill the disk of %s: it has no small disk of its own", dir)
	}
	f, err := os.OpenFile(filepath.Join(m.Dir, ballast), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return errs.New(errs.Unavailable, "cannot fill the disk of %s: %w", dir, err)
	}
	defer f.Close()
	for chunk := make([]byte, 1<<20); len(chunk) > 0; {
		if _, err := f.Write(chunk); errors.Is(err, unix.ENOSPC) {
			chunk = chunk[:len(chunk)/2]
		} else if err != nil {
			return errs.New(errs.Unavailable, "cannot fill the disk of %s: %w", dir, err)
		}
	}
	return nil
}

// FreeDisk gives back what FillDisk took.
func (s *Supervisor) FreeDisk(dir string) error {
	if err := os.Remove(filepath.Join(real(dir), ballast)); err != nil && !errorIsMissing(err) {
		return errs.New(errs.Unavailable, "cannot free the disk of %s: %w", dir, err)
	}
	return nil
}

// mounted reports whether exactly this mount of the lab is there.
func (m Mount) mounted() bool {
	f, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return false
	}
	defer f.Close()
	unescape := strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`)
	for lines := bufio.NewScanner(f); lines.Scan(); {
		front, back, ok := strings.Cut(lines.Text(), " - ")
		words, kind := strings.Fields(front), strings.Fields(back)
		if ok && len(words) > 4 && len(kind) > 1 && unescape.Replace(words[4]) == m.Dir && kind[0] == "tmpfs" && kind[1] == "perdure-lab" {
			return true
		}
	}
	return false
}

func (m Mount) unmount() error {
	for m.mounted() {
		if err := unix.Unmount(m.Dir, 0); err != nil {
			if err = unix.Unmount(m.Dir, unix.MNT_DETACH); err != nil {
				return errs.New(errs.Unavailable, "cannot unmount %s: %w; as root: umount %s", m.Dir, err, m.Dir)
			}
		}
	}
	return nil
}

// Privileged reports whether the lab may mount file systems.
func (s *Supervisor) Privileged() bool { return os.Geteuid() == 0 }
