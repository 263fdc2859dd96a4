package proc

import (
	"context"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"perdure/internal/errs"
)

// Down ends the lab that runs, or was killed, in the directory: its supervisor is asked to end, and when it does not, or is not there,
// everything it had started is ended from here. It says how many processes it had to end itself; repeating it changes nothing.
func Down(ctx context.Context, dir string, log *slog.Logger) (int, error) {
	l, _, ok, err := readLab(dir)
	if err != nil || !ok {
		return 0, err
	}
	if l.lives() && l.PID != os.Getpid() {
		l.signal(syscall.SIGTERM)
		// The supervisor needs its grace for each of two stages.
		bound, cancel := context.WithTimeout(ctx, 4*grace)
		defer cancel()
		if !awaitEnd(bound, []Identity{l.Identity}) {
			l.signal(syscall.SIGKILL)
			if !awaitEnd(ctx, []Identity{l.Identity}) {
				return 0, errs.New(errs.Unavailable, "the lab's supervisor (process %d) does not end: %w", l.PID, context.Cause(ctx))
			}
		}
	}
	lock, err := awaitLock(ctx, dir)
	if err != nil {
		return 0, err
	}
	defer func() {
		_ = os.Remove(lockPath(dir))
		lock.Close()
	}()
	return sweep(dir, log)
}

// awaitLock takes the lock of a supervisor that has just died: the kernel may take a moment longer over its last threads.
func awaitLock(ctx context.Context, dir string) (*os.File, error) {
	bound, cancel := context.WithTimeout(ctx, grace)
	defer cancel()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		lock, err := takeLock(dir)
		if errs.KindOf(err) != errs.Conflict {
			return lock, err
		}
		select {
		case <-bound.Done():
			return nil, err
		case <-tick.C:
		}
	}
}

// Alive reports whether a supervisor runs in the directory, and its process.
func Alive(dir string) (pid int, ok bool) {
	l, _, ok, err := readLab(dir)
	if err != nil || !ok || !l.lives() {
		return 0, false
	}
	return l.PID, true
}

// sweep ends everything that is written down and everything that came from it, in the order that leaves least behind:
// first who would restart others, then the databases by their own immediate shutdown, then whoever is left.
// Then it removes mounts, shared memory and the records. It gives the number of processes that it ended.
func sweep(dir string, log *slog.Logger) (int, error) {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	l, records, ok, err := readLab(dir)
	if err != nil || !ok {
		return 0, err
	}
	// Who waits for a disk that stands still cannot be ended.
	for _, m := range l.Mounts {
		if m.Image != "" && m.mounted() {
			if err := m.control(fiThaw); err != nil {
				return 0, err
			}
		}
	}
	servers := make(map[int]bool)
	for _, d := range l.Databases {
		if id, ok := d.postmaster(); ok {
			servers[id.PID] = true
			if r := d.leftovers(); r.ID >= 0 || len(r.Memory) > 0 {
				l.Residues = append(l.Residues, r)
			}
		} else if r := d.leftovers(); r.ID >= 0 {
			l.Residues = append(l.Residues, r) // killed by somebody else
		}
	}
	table := processes()
	ofServers := family(table, servers)
	roots := make(map[int]bool)
	for _, r := range records {
		if r.lives() {
			roots[r.PID] = true
		}
	}
	for _, p := range table {
		if p.pid != os.Getpid() && p.pid != l.PID && marked(p.pid, markName+"="+l.Mark) {
			roots[p.pid] = true
		}
	}
	others := family(table, roots)
	for pid := range ofServers {
		delete(others, pid)
	}
	delete(others, os.Getpid())

	ended := end(others, syscall.SIGTERM, grace)
	// SIGQUIT is the server's immediate shutdown: no checkpoint, but it tidies up after itself.
	for pid := range servers {
		signalAll(family(processes(), map[int]bool{pid: true}), syscall.SIGCONT)
	}
	ended += end(servers, syscall.SIGQUIT, grace)
	ended += end(ofServers, 0, 0)

	for _, m := range l.Mounts {
		if err := m.unmount(); err != nil {
			return ended, err
		}
	}
	for _, r := range l.Residues {
		r.remove()
	}
	if ended > 0 {
		log.Debug("lab's processes ended", "count", ended)
	}
	for _, f := range append(slices.Collect(recordFiles(dir)), filepath.Join(dir, "lab.json")) {
		if err := os.Remove(f); err != nil && !errorIsMissing(err) {
			return ended, errs.New(errs.Unavailable, "cannot remove the lab's records: %w", err)
		}
	}
	return ended, nil
}

func recordFiles(dir string) func(func(string) bool) {
	files, _ := filepath.Glob(filepath.Join(dir, "processes", "*.json"))
	return slices.Values(files)
}

// end asks processes to end by the signal (0: does not ask) and kills those that have not after the patience. It gives how many there were.
func end(pids map[int]bool, ask syscall.Signal, patience time.Duration) int {
	var ids []Identity
	for pid := range pids {
		if id, ok := identify(pid); ok && id.lives() {
			ids = append(ids, id)
		}
	}
	if len(ids) == 0 {
		return 0
	}
	if ask != 0 {
		for _, id := range ids {
			id.signal(ask)
			id.signal(syscall.SIGCONT) // a frozen process hears nothing
		}
		bound, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		awaitEnd(bound, ids)
	}
	for _, id := range ids {
		id.signal(syscall.SIGKILL)
	}
	bound, cancel := context.WithTimeout(context.Background(), gone)
	defer cancel()
	awaitEnd(bound, ids)
	return len(ids)
}

// collect reaps orphans that became our children. A process that was started with os/exec belongs to whoever waits for it,
// so a dead child is taken only when it is known for a stranger: a server that began a session of its own, or anybody who was
// dead at two looks in a row, with nobody waiting.
func (s *Supervisor) collect() {
	died := make(chan os.Signal, 1)
	signal.Notify(died, syscall.SIGCHLD)
	defer signal.Stop(died)
	tick := time.NewTicker(collectEvery)
	defer tick.Stop()
	dead := make(map[Identity]bool)
	look := true
	for {
		select {
		case <-s.stop:
			return
		case <-died:
			look = true
		case <-tick.C:
			if look {
				dead = s.reap(dead)
				look = len(dead) > 0
			}
		}
	}
}

// collectEvery is how often orphans are looked for at most: a server that was killed blocks its successor until it is collected.
const collectEvery = 200 * time.Millisecond

// collectNow waits until the dead have left the process table, because a server refuses to start beside its dead predecessor.
// Those whose parents live and do not collect them are left.
func (s *Supervisor) collectNow(ctx context.Context, ids []Identity) {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		waiting := false
		for _, id := range ids {
			p, ok := readProcess(id.PID)
			if !ok || p.start != id.Start || p.parent != os.Getpid() {
				continue
			}
			waiting = true
			if !s.ours(id) {
				take(id.PID)
			}
		}
		if !waiting {
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

func (s *Supervisor) reap(before map[Identity]bool) map[Identity]bool {
	dead := make(map[Identity]bool)
	for _, p := range processes() {
		if p.state != 'Z' || p.parent != os.Getpid() {
			continue
		}
		id := Identity{PID: p.pid, Start: p.start, Boot: bootID()}
		if s.ours(id) {
			continue
		}
		if p.name == "postgres" && p.session == p.pid || before[id] {
			take(p.pid)
			continue
		}
		dead[id] = true
	}
	return dead
}

// ours reports whether the process is one that look waits for.
func (s *Supervisor) ours(id Identity) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range s.procs {
		if r.id == id {
			return true
		}
	}
	return false
}

// take collects a dead child.
func take(pid int) {
	var status unix.WaitStatus
	_, _ = unix.Wait4(pid, &status, unix.WNOHANG, nil)
}
