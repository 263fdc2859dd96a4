package postgres

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"perdure/internal/errs"
)

// killAfter is how long a server that was told to end at once may take before it is killed.
const killAfter = 500 * time.Millisecond

// tick is how often a short wait looks again.
const tick = 2 * time.Millisecond

// process is one life of a postmaster, ours or found again.
type process struct {
	pid  int
	seen time.Time     // when we started or found it
	dead chan struct{} // closed when the postmaster and all its children are gone
	stop *os.File      // closing it ends the watch
	once sync.Once
	done chan struct{} // the watcher has returned
}

// watch makes a process of a postmaster's pid. child is the command where we started it: it has to be reaped.
func (d *Database) watch(pid int, dir string, child *exec.Cmd) (*process, error) {
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return nil, errs.New(errs.Unavailable, "cannot watch server process %d: %w", pid, err)
	}
	r, w, err := os.Pipe()
	if err != nil {
		_ = unix.Close(fd)
		return nil, errs.New(errs.Unavailable, "cannot watch server process %d: %w", pid, err)
	}
	p := &process{pid: pid, seen: time.Now(), dead: make(chan struct{}), stop: w, done: make(chan struct{})}
	go func() {
		defer close(p.done)
		defer unix.Close(fd)
		defer r.Close()
		fds := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}, {Fd: int32(r.Fd()), Events: unix.POLLIN}}
		for {
			if _, err := unix.Poll(fds, -1); err != nil && !errors.Is(err, unix.EINTR) {
				return
			}
			if fds[0].Revents != 0 {
				break
			}
			if fds[1].Revents != 0 {
				return
			}
		}
		if child != nil {
			_ = child.Wait() // reaped; the exit status is in the server's log
		}
		// Children of a killed postmaster may still commit and answer: only without them is the server dead (I8).
		killRemains(dir)
		close(p.dead)
	}()
	return p, nil
}

// forget ends the watch; the server goes on.
func (p *process) forget() {
	p.once.Do(func() { _ = p.stop.Close() })
	<-p.done
}

// running gives the server's process, nil where none lives.
func (d *Database) running() *process {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.proc == nil {
		return nil
	}
	select {
	case <-d.proc.dead:
		d.proc.once.Do(func() { _ = d.proc.stop.Close() })
		d.proc = nil
	default:
	}
	return d.proc
}

// attach finds a server that already runs on the directory.
func (d *Database) attach() *process {
	if p := d.running(); p != nil {
		return p
	}
	pid := postmasterOf(d.o.DataDir)
	if pid == 0 {
		return nil
	}
	p, err := d.watch(pid, d.o.DataDir, nil)
	if err != nil {
		return nil
	}
	if postmasterOf(d.o.DataDir) != pid { // it ended, and the number may be somebody else's
		p.forget()
		return nil
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.proc = p
	return p
}

// launch starts a server on dir that outlives this process, its messages going to log.
func (d *Database) launch(dir, log string, args []string) (*process, error) {
	killRemains(dir)
	for _, file := range []string{filepath.Join(dir, "postmaster.pid"), d.socketLock(d.socketDir()), d.socketLock(d.privateDir())} {
		if err := forgetUnreaped(file); err != nil {
			return nil, err
		}
	}
	out, err := d.openLog(log)
	if err != nil {
		return nil, err
	}
	defer out.Close()
	c := d.command(context.Background(), "postgres", append([]string{"-D", dir}, args...)...)
	c.Stdout, c.Stderr = out, out
	if err := c.Start(); err != nil {
		return nil, errs.New(errs.Unavailable, "cannot start PostgreSQL on %s: %w", dir, err)
	}
	p, err := d.watch(c.Process.Pid, dir, c)
	if err != nil {
		_ = c.Process.Kill()
		_ = c.Wait()
		return nil, err
	}
	return p, nil
}

// end stops a server: with a checkpoint, or at once. It returns when all its processes are gone.
func (p *process) end(ctx context.Context, immediate bool) error {
	sig := syscall.SIGINT
	if immediate {
		sig = syscall.SIGQUIT
	}
	if err := syscall.Kill(p.pid, sig); err != nil && !errors.Is(err, syscall.ESRCH) {
		return errs.New(errs.Unavailable, "cannot stop server process %d: %w", p.pid, err)
	}
	if immediate {
		timer := time.NewTimer(killAfter)
		defer timer.Stop()
		select {
		case <-p.dead:
			return nil
		case <-timer.C:
		case <-ctx.Done():
		}
		_ = syscall.Kill(p.pid, syscall.SIGKILL) // it may have ended just now
	}
	select {
	case <-p.dead:
		return nil
	case <-ctx.Done():
		return errs.New(errs.Unavailable, "server process %d is still stopping: wait, or stop it at once", p.pid)
	}
}

// postmasterOf gives the pid of the postmaster that runs on dir, 0 where none lives.
func postmasterOf(dir string) int {
	lines := linesOf(filepath.Join(dir, "postmaster.pid"))
	if len(lines) == 0 {
		return 0
	}
	pid, err := strconv.Atoi(strings.TrimSpace(lines[0]))
	if err != nil || pid <= 0 || !isServerProcess(pid, inode(dir)) {
		return 0
	}
	return pid
}

// forgetUnreaped removes the lock file of a postmaster that has ended and that nobody has reaped yet: PostgreSQL would take it for alive.
func forgetUnreaped(lock string) error {
	lines := linesOf(lock)
	if len(lines) == 0 {
		return nil
	}
	if stat := linesOf(filepath.Join("/proc", strings.TrimSpace(lines[0]), "stat")); len(stat) > 0 && ending(stat[0]) {
		return removeFile(lock)
	}
	return nil
}

// exiting is the flag of a process that is on its way out and has nothing open any more, although it is not a zombie yet (PF_EXITING of Linux).
const exiting = 0x4

// ending reports whether the stat of a process is that of a server that has ended, or is just ending for good.
func ending(stat string) bool {
	_, rest, ok := strings.Cut(stat, "(postgres) ")
	fields := strings.Fields(rest)
	if !ok || len(fields) < 7 {
		return false
	}
	flags, err := strconv.ParseUint(fields[6], 10, 64)
	return fields[0] == "Z" || err == nil && flags&exiting != 0
}

// file identifies a directory by device and inode, so that a renamed one is still known.
type file struct{ dev, ino uint64 }

func inode(path string) file {
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		return file{}
	}
	return file{st.Dev, st.Ino}
}

// isServerProcess reports whether pid is a living process of a PostgreSQL server on the directory.
func isServerProcess(pid int, dir file) bool {
	if dir == (file{}) {
		return false
	}
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return false
	}
	name, rest := stat, []byte(nil)
	if i := bytes.LastIndexByte(stat, ')'); i >= 0 {
		name, rest = stat[:i], stat[i+1:]
	}
	if !bytes.HasSuffix(name, []byte("(postgres")) && !bytes.HasSuffix(name, []byte("(postmaster")) {
		return false
	}
	if len(rest) > 1 && (rest[1] == 'Z' || rest[1] == 'X') { // ended, not yet reaped by whoever inherited it
		return false
	}
	return inode(fmt.Sprintf("/proc/%d/cwd", pid)) == dir
}

// serverProcesses lists the living processes of any server on dir.
func serverProcesses(dir string) []int {
	id := inode(dir)
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil
	}
	var pids []int
	for _, e := range entries {
		if pid, err := strconv.Atoi(e.Name()); err == nil && isServerProcess(pid, id) {
			pids = append(pids, pid)
		}
	}
	return pids
}

// killRemains ends what a dead postmaster left behind: its children go on committing until they notice.
// The log collector is spared, it ends by itself when nobody writes to it; one that stands still is woken for that. A child that has not
// said yet what it is may be the collector of a server that died young, with the reason still to be written: it is given a moment.
func killRemains(dir string) {
	if postmasterOf(dir) != 0 {
		return
	}
	begun := time.Now()
	for time.Since(begun) < 10*time.Second {
		left := 0
		for _, pid := range serverProcesses(dir) {
			switch title := title(pid); {
			case isCollector(title):
				_ = syscall.Kill(pid, syscall.SIGCONT) // it may have ended just now
				continue
			case hasTitle(title) || time.Since(begun) > untitledFor:
				_ = syscall.Kill(pid, syscall.SIGKILL) // it may have ended just now
			}
			left++
		}
		if left == 0 {
			return
		}
		time.Sleep(tick / 2)
	}
}

// untitledFor is how long a child of a dead postmaster may go without having said what it is. It says so before it does any work.
const untitledFor = 500 * time.Millisecond

// hasTitle reports whether a server process has said what it is: before that it shows the command line of its postmaster.
func hasTitle(title string) bool { return strings.HasPrefix(title, "postgres: ") }

// isCollector tells the log collector from a session of somebody named logger: a session's title goes on with database and client.
func isCollector(title string) bool { return hasTitle(title) && strings.HasSuffix(title, ": logger") }

// title is what a server process says it is, for example "postgres: walreceiver streaming 0/3000148".
func title(pid int) string {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	if err != nil {
		return ""
	}
	return strings.TrimRight(strings.ReplaceAll(string(text), "\x00", " "), " ")
}

// children lists the direct children of a process.
func children(pid int) []int {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", pid, pid))
	if err != nil {
		return nil
	}
	var pids []int
	for f := range strings.FieldsSeq(string(text)) {
		if n, err := strconv.Atoi(f); err == nil {
			pids = append(pids, n)
		}
	}
	return pids
}

// reload makes the server read its configuration; it returns before the processes have taken it up.
func (p *process) reload() error {
	if err := syscall.Kill(p.pid, syscall.SIGHUP); err != nil {
		return errs.New(errs.Unavailable, "cannot make the server read its configuration: %w", err)
	}
	return nil
}

// poll looks again every tick until look says done, fails, or the context ends.
func poll(ctx context.Context, look func() (bool, error)) error {
	t := time.NewTicker(tick)
	defer t.Stop()
	for {
		done, err := look()
		if err != nil || done {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-t.C:
		}
	}
}
