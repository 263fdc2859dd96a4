package proc

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"perdure/internal/errs"
)

// Mount is a small file system of its own for a directory, so that it can be filled, or stand still, without the machine's disk.
type Mount struct {
	Dir string `json:"dir"`
	// Image is the file that a stallable one lies in; "" for one in memory.
	Image string `json:"image,omitempty"`
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
	if err := s.remember(m); err != nil {
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

// remember writes a mount down before it is made: a death in between leaves a record too many, never a mount.
func (s *Supervisor) remember(m Mount) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mounts = append(s.mounts, m)
	return s.save()
}

// StallableDisk puts a file system on blocks of its own at the directory, which must be empty: it can be made to stand still. It needs root,
// a loop device, and the programs mkfs.ext4 and mount.
func (s *Supervisor) StallableDisk(dir string, size int64, owner *syscall.Credential) error {
	if os.Geteuid() != 0 {
		return errs.New(errs.Refused, "no stallable disk for %s: mounting needs root: %w", dir, ErrNoRights)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return errs.New(errs.Unavailable, "cannot make %s: %w", dir, err)
	}
	if files, err := os.ReadDir(dir); err != nil || len(files) > 0 {
		return errs.New(errs.Conflict, "cannot put a stallable disk at %s: it is not empty; say so before the start", dir)
	}
	m := Mount{Dir: real(dir)}
	m.Image = m.Dir + ".disk"
	if err := s.remember(m); err != nil {
		return err
	}
	f, err := os.OpenFile(m.Image, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err == nil {
		err = errors.Join(f.Truncate(size), f.Close())
	}
	if err != nil {
		return errs.New(errs.Unavailable, "cannot make the disk of %s: %w", dir, err)
	}
	for _, program := range [][]string{
		{"mkfs.ext4", "-q", "-F", "-m", "0", "-O", "^has_journal", m.Image},
		{"mount", "-o", "loop,nosuid,nodev", m.Image, m.Dir},
	} {
		if text, err := exec.Command(program[0], program[1:]...).CombinedOutput(); err != nil {
			_ = os.Remove(m.Image)
			return errs.New(errs.Refused, "no stallable disk for %s: %s: %s: %w", dir, program[0], strings.TrimSpace(string(text)), ErrNoRights)
		}
	}
	err = errors.Join(os.Remove(filepath.Join(m.Dir, "lost+found")), os.Chmod(m.Dir, 0o711))
	if err == nil && owner != nil {
		err = os.Chown(m.Dir, int(owner.Uid), int(owner.Gid))
	}
	if err != nil {
		return errs.New(errs.Unavailable, "cannot prepare the disk of %s: %w", dir, err)
	}
	return nil
}

// The kernel's names for making a file system stand still and go on (linux/fs.h).
const (
	fiFreeze = 0xC0045877
	fiThaw   = 0xC0045878
)

// StallDisk makes the stallable disk at the directory stand still: whoever writes waits, and reads what is in memory. Whoever waits cannot
// even be killed before ResumeDisk. It refuses a directory that is not a stallable disk of the lab.
func (s *Supervisor) StallDisk(dir string) error {
	m, ok := s.stallable(dir)
	if !ok {
		return errs.New(errs.Refused, "cannot stall the disk of %s: it has no stallable disk of its own: %w", dir, ErrNoRights)
	}
	return m.control(fiFreeze)
}

// ResumeDisk lets the disk go on; one that does is left alone.
func (s *Supervisor) ResumeDisk(dir string) error {
	if m, ok := s.stallable(dir); ok {
		return m.control(fiThaw)
	}
	return nil
}

func (s *Supervisor) stallable(dir string) (Mount, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, m := range s.mounts {
		if m.Dir == real(dir) && m.Image != "" && m.mounted() {
			return m, true
		}
	}
	return Mount{}, false
}

func (m Mount) control(request uint) error {
	f, err := os.Open(m.Dir)
	if err != nil {
		return errs.New(errs.Unavailable, "cannot reach the disk of %s: %w", m.Dir, err)
	}
	defer f.Close()
	if err := unix.IoctlSetInt(int(f.Fd()), request, 0); err != nil && !(request == fiThaw && errors.Is(err, unix.EINVAL)) { // it stands still no more
		return errs.New(errs.Unavailable, "cannot stall, or resume, the disk of %s: %w", m.Dir, err)
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
		if !ok || len(words) <= 4 || len(kind) <= 1 || unescape.Replace(words[4]) != m.Dir {
			continue
		}
		if m.Image == "" && kind[0] == "tmpfs" && kind[1] == "perdure-lab" {
			return true
		}
		backing, err := os.ReadFile(filepath.Join("/sys/block", filepath.Base(kind[1]), "loop/backing_file"))
		if err == nil && m.Image != "" && strings.TrimSpace(string(backing)) == m.Image {
			return true
		}
	}
	return false
}

func (m Mount) unmount() error {
	if m.Image != "" {
		defer os.Remove(m.Image)
	}
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
