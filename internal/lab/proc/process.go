package proc

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

// Identity names one process for as long as the machine runs: a number alone may be given to somebody else.
type Identity struct {
	PID int `json:"pid"`
	// Start is when it started, in clock ticks since boot; Boot identifies that boot.
	Start uint64 `json:"start"`
	Boot  string `json:"boot"`
}

// process is one line of the process table.
type process struct {
	pid, parent, group, session int
	state                       byte // R, S, D, T (stopped), Z (dead, not collected) …
	start                       uint64
	name                        string // the program's name, at most 15 bytes
}

// readProcess reads the process table's line; false when there is no such process.
func readProcess(pid int) (process, bool) {
	text, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return process{}, false
	}
	// The name is in brackets and may contain anything, brackets too.
	open, end := bytes.IndexByte(text, '('), bytes.LastIndexByte(text, ')')
	if open < 0 || end < open {
		return process{}, false
	}
	fields := strings.Fields(string(text[end+1:]))
	const startField = 22 - 3 // of proc(5), counted after the name
	if len(fields) <= startField {
		return process{}, false
	}
	p := process{pid: pid, name: string(text[open+1 : end]), state: fields[0][0]}
	p.parent, _ = strconv.Atoi(fields[1])
	p.group, _ = strconv.Atoi(fields[2])
	p.session, _ = strconv.Atoi(fields[3])
	p.start, err = strconv.ParseUint(fields[startField], 10, 64)
	return p, err == nil
}

// processes reads the whole table.
func processes() []process {
	dir, err := os.Open("/proc")
	if err != nil {
		return nil
	}
	defer dir.Close()
	names, err := dir.Readdirnames(-1)
	if err != nil {
		return nil
	}
	var all []process
	for _, name := range names {
		if pid, err := strconv.Atoi(name); err == nil {
			if p, ok := readProcess(pid); ok {
				all = append(all, p)
			}
		}
	}
	return all
}

// lives reports whether the process still runs; one that is dead and only not collected does not.
func (i Identity) lives() bool {
	if i.Boot != bootID() {
		return false
	}
	p, ok := readProcess(i.PID)
	return ok && p.start == i.Start && p.state != 'Z' && p.state != 'X'
}

// identify gives the identity of a running process.
func identify(pid int) (Identity, bool) {
	p, ok := readProcess(pid)
	return Identity{PID: pid, Start: p.start, Boot: bootID()}, ok
}

// signal sends the signal if the process is still the one that was named.
func (i Identity) signal(s syscall.Signal) {
	if i.PID > 1 && i.lives() {
		_ = syscall.Kill(i.PID, s)
	}
}

func bootID() string {
	text, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(text))
}

// family widens a set of processes to everybody who came from them: children at any depth, and members of the process groups
// and sessions that they lead.
func family(table []process, roots map[int]bool) map[int]bool {
	all := make(map[int]bool, len(roots))
	for pid := range roots {
		all[pid] = true
	}
	for grown := true; grown; {
		grown = false
		for _, p := range table {
			if !all[p.pid] && p.pid > 1 && (all[p.parent] || all[p.group] || all[p.session]) {
				all[p.pid], grown = true, true
			}
		}
	}
	return all
}

// environment reads the environment a process was started with; nil where that is not for us to see.
func environment(pid int) []string {
	text, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/environ")
	if err != nil {
		return nil
	}
	return strings.Split(strings.TrimRight(string(text), "\x00"), "\x00")
}

// commandLine is what a process says it is; PostgreSQL's say what they do, for example "postgres: u1-a.1: checkpointer".
func commandLine(pid int) string {
	return strings.TrimRight(strings.Join(arguments(pid), " "), " ")
}

// arguments are what a process was started with, the program first; nil where that is not for us to see.
func arguments(pid int) []string {
	text, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/cmdline")
	if err != nil {
		return nil
	}
	return strings.Split(strings.TrimRight(string(text), "\x00"), "\x00")
}

// workingDir is where a process works; "" where that is not for us to see.
func workingDir(pid int) string {
	dir, err := os.Readlink("/proc/" + strconv.Itoa(pid) + "/cwd")
	if err != nil {
		return ""
	}
	return strings.TrimSuffix(dir, " (deleted)")
}

// marked reports whether the process was started, at whatever remove, with the assignment in its environment.
func marked(pid int, assignment string) bool {
	return slices.Contains(environment(pid), assignment)
}

// real resolves links as far as the path exists.
func real(path string) string {
	if r, err := filepath.EvalSymlinks(path); err == nil {
		return r
	}
	return filepath.Clean(path)
}
