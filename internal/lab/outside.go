package lab

import (
	"errors"
	"fmt"
	"hash/fnv"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"perdure/internal/errs"
)

// PostgreSQL refuses to run as root, so under root its servers run as the user postgres, who has to reach their directories.
// Where the lab's folder lies somewhere closed to it (a clone in /root), data lies in a folder of its own under /var/tmp,
// which is written down in the lab's folder and removed with it.

const outsideNote = "outside"

// serverUser is who runs PostgreSQL's servers, nil for the present user.
func serverUser() (*syscall.Credential, error) {
	if os.Geteuid() != 0 {
		return nil, nil
	}
	u, err := user.Lookup("postgres")
	if err != nil {
		return nil, errs.New(errs.Unavailable, "PostgreSQL does not run as root and there is no user postgres: install Debian's postgresql-15 (scripts/need postgresql)")
	}
	uid, err := strconv.ParseUint(u.Uid, 10, 32)
	gid, err2 := strconv.ParseUint(u.Gid, 10, 32)
	if err != nil || err2 != nil {
		return nil, errs.New(errs.Internal, "user postgres has the numbers %s and %s", u.Uid, u.Gid)
	}
	return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, nil
}

// dataDir chooses where databases lie and notes it down where that is outside of the lab's folder.
func dataDir(dir string) (string, error) {
	cred, err := serverUser()
	if err != nil {
		return "", err
	}
	inside := filepath.Join(dir, "data")
	if cred == nil || reaches(cred, dir) {
		return inside, nil
	}
	h := fnv.New64a()
	_, _ = h.Write([]byte(dir))
	outside := fmt.Sprintf("/var/tmp/perdure-lab-%016x", h.Sum64())
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", errs.New(errs.Unavailable, "cannot make the lab's folder: %w", err)
	}
	if err := os.WriteFile(filepath.Join(dir, outsideNote), []byte(outside+"\n"), 0o644); err != nil {
		return "", errs.New(errs.Unavailable, "cannot note the folder of the databases: %w", err)
	}
	if err := os.Mkdir(outside, 0o711); err != nil && !errors.Is(err, fs.ErrExist) {
		return "", errs.New(errs.Unavailable, "cannot make the folder of the databases: %w", err)
	}
	info, err := os.Lstat(outside)
	if err != nil || !info.IsDir() || info.Sys().(*syscall.Stat_t).Uid != 0 {
		return "", errs.New(errs.Refused, "%s is somebody else's: remove it, or clone where user postgres can get through", outside)
	}
	return outside, nil
}

// reaches reports whether the user can get through every folder of the path that is there.
func reaches(cred *syscall.Credential, path string) bool {
	for p := filepath.Clean(path); ; p = filepath.Dir(p) {
		if info, err := os.Stat(p); err == nil {
			st := info.Sys().(*syscall.Stat_t)
			mode := info.Mode().Perm()
			ok := mode&0o001 != 0 || st.Uid == cred.Uid && mode&0o100 != 0 || st.Gid == cred.Gid && mode&0o010 != 0
			if !ok {
				return false
			}
		}
		if p == "/" {
			return true
		}
	}
}

// removeOutside removes the folder that was noted down.
func removeOutside(dir string) error {
	text, err := os.ReadFile(filepath.Join(dir, outsideNote))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return errs.New(errs.Unavailable, "cannot find the folder of the databases: %w", err)
	}
	outside := strings.TrimSpace(string(text))
	if !strings.HasPrefix(outside, "/var/tmp/perdure-lab-") || strings.Contains(outside, "..") {
		return nil
	}
	if err := os.RemoveAll(outside); err != nil {
		return errs.New(errs.Unavailable, "cannot remove the folder of the databases: %w", err)
	}
	return nil
}
