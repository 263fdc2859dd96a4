package proc

import (
	"bufio"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"perdure/internal/estate"
)

// Database is a PostgreSQL data directory whose server some agent starts and which therefore is not a child of ours.
type Database struct {
	Name string        `json:"name"` // the member, for example "u1-a"
	Site estate.SiteID `json:"site"`
	// Dir is the data directory; it need not exist yet.
	Dir string `json:"dir"`
}

// lockFile is what a server writes about itself into its data directory.
type lockFile struct {
	pid int
	// key and id of its System V shared memory segment; id is -1 where it is not known.
	key, id int
}

// readLockFile reads postmaster.pid; false where there is none, or none that makes sense.
func readLockFile(dir string) (lockFile, bool) {
	f, err := os.Open(filepath.Join(dir, "postmaster.pid"))
	if err != nil {
		return lockFile{}, false
	}
	defer f.Close()
	l := lockFile{id: -1}
	lines := bufio.NewScanner(f)
	for n := 1; lines.Scan(); n++ {
		switch n {
		case 1:
			pid, err := strconv.Atoi(strings.TrimSpace(lines.Text()))
			if err != nil {
				return lockFile{}, false
			}
			l.pid = max(pid, -pid) // negative in single-user mode
		case 7:
			if words := strings.Fields(lines.Text()); len(words) == 2 {
				key, err := strconv.Atoi(words[0])
				id, err2 := strconv.Atoi(words[1])
				if err == nil && err2 == nil {
					l.key, l.id = key, id
				}
			}
		}
	}
	return l, l.pid > 1
}

// postmaster finds the server's first process; false when none works in the directory.
func (d Database) postmaster() (Identity, bool) {
	l, ok := readLockFile(d.Dir)
	if !ok {
		return Identity{}, false
	}
	id, ok := identify(l.pid)
	// The number in the file may be somebody else's by now: a server works in its data directory.
	if !ok || !id.lives() || workingDir(l.pid) != real(d.Dir) {
		return Identity{}, false
	}
	return id, true
}

// residue is what a server that was killed leaves in the kernel, because nobody runs its clean-up.
type residue struct {
	Key    int      `json:"key,omitempty"`
	ID     int      `json:"id"` // System V segment; -1: none
	Memory []string `json:"memory,omitempty"`
}

// leftovers notes what the server holds, to be called before it is killed.
func (d Database) leftovers() residue {
	r := residue{ID: -1}
	l, ok := readLockFile(d.Dir)
	if !ok {
		return r
	}
	r.Key, r.ID = l.key, l.id
	maps, err := os.ReadFile("/proc/" + strconv.Itoa(l.pid) + "/maps")
	if err != nil {
		return r
	}
	for line := range strings.Lines(string(maps)) {
		if i := strings.Index(line, "/dev/shm/PostgreSQL."); i >= 0 {
			name := strings.TrimSuffix(strings.TrimSpace(line[i:]), " (deleted)")
			if !slices.Contains(r.Memory, name) {
				r.Memory = append(r.Memory, name)
			}
		}
	}
	return r
}

// remove takes the leftovers out of the kernel, unless somebody uses them.
func (r residue) remove() {
	if r.ID >= 0 {
		var d unix.SysvShmDesc
		if _, err := unix.SysvShmCtl(r.ID, unix.IPC_STAT, &d); err == nil && d.Nattch == 0 && d.Perm.Key == int32(r.Key) {
			_, _ = unix.SysvShmCtl(r.ID, unix.IPC_RMID, nil)
		}
	}
	for _, name := range r.Memory {
		if strings.HasPrefix(name, "/dev/shm/PostgreSQL.") {
			_ = os.Remove(name)
		}
	}
}
