// Package proc runs the lab's real processes: it starts them, restarts what dies, stops, kills and freezes them one by one
// or by the site, and sees to it that nothing of them is left: no process, no mount, no shared memory.
//
// What was started is written down under the lab's directory with the start time of each process, so that Down, in another
// process and after any death of the supervisor, ends exactly those and nobody who got the same number later. Processes that
// the started ones start themselves (a database by its agent) are found by descent, by a mark in their environment, and,
// for databases, by their data directory. Nothing is ever found by its program's name.
package proc

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"perdure/internal/errs"
	"perdure/internal/estate"
)

// markName is the environment variable by which descendants are recognised.
const markName = "PERDURE_LAB"

// Timing of restarts and endings.
const (
	backOffLeast = 100 * time.Millisecond
	backOffMost  = 2 * time.Second
	// settled is how long a process lives until its next death is a first one again.
	settled = 10 * time.Second
	// grace is how long processes may take to end by themselves before they are killed.
	grace = 5 * time.Second
	// gone is how long killed processes may take to leave the process table.
	gone = 10 * time.Second
)

// Spec says how a process is run.
type Spec struct {
	Name string
	Site estate.SiteID
	Path string
	Args []string
	// Env is added to PATH, HOME, LANG and TZ, all that is passed on.
	Env []string
	Dir string
	// User is who it runs as; nil for the present user.
	User *syscall.Credential
	// Log receives what it prints; it is appended to.
	Log string
	// Once: it is not restarted when it ends.
	Once bool
}

// State is how a process stands.
type State string

// The closed list of states.
const (
	Running State = "running"
	Frozen  State = "frozen"
	// Waiting: it died and will be restarted shortly.
	Waiting State = "restarting"
	// Held: it is kept from running by Kill or Stop.
	Held State = "held"
	// Ended: it ran once.
	Ended State = "ended"
)

// Status is one process at a glance.
type Status struct {
	Name     string        `json:"name"`
	Site     estate.SiteID `json:"site,omitempty"`
	State    State         `json:"state"`
	PID      int           `json:"pid,omitempty"`
	Restarts int           `json:"restarts"`
	Since    time.Time     `json:"since"`
	Log      string        `json:"log"`
}

// Supervisor runs processes. Its methods may be called by several goroutines.
type Supervisor struct {
	dir  string
	mark string
	log  *slog.Logger
	lock *os.File

	mu        sync.Mutex
	procs     map[string]*running
	databases map[string]Database
	residues  []residue
	mounts    []Mount
	closing   bool

	stop chan struct{}
	wg   sync.WaitGroup
}

// running is one process that is looked after; its fields are guarded by the supervisor's mu.
type running struct {
	spec     Spec
	id       Identity
	state    State
	restarts int
	since    time.Time
	held     bool
	wake     chan struct{} // held changed
}

// lab is what is written down about the supervisor itself.
type lab struct {
	Identity
	Mark      string     `json:"mark"`
	Databases []Database `json:"databases,omitempty"`
	Residues  []residue  `json:"residues,omitempty"`
	Mounts    []Mount    `json:"mounts,omitempty"`
}

// record is what is written down about a process.
type record struct {
	Identity
	Name string        `json:"name"`
	Site estate.SiteID `json:"site,omitempty"`
}

// New takes the directory, in which nobody else may run a lab, and keeps its records there.
// What a killed supervisor left is ended first.
func New(dir string, log *slog.Logger) (*Supervisor, error) {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	if err := os.MkdirAll(filepath.Join(dir, "processes"), 0o755); err != nil {
		return nil, errs.New(errs.Unavailable, "cannot make the lab's folder: %w", err)
	}
	lock, err := takeLock(dir)
	if err != nil {
		return nil, err
	}
	if _, err := sweep(dir, nil); err != nil {
		lock.Close()
		return nil, err
	}
	if err := os.MkdirAll(filepath.Join(dir, "processes"), 0o755); err != nil {
		lock.Close()
		return nil, errs.New(errs.Unavailable, "cannot make the lab's folder: %w", err)
	}
	var random [12]byte
	_, _ = rand.Read(random[:])
	s := &Supervisor{
		dir: dir, mark: hex.EncodeToString(random[:]), log: log, lock: lock,
		procs: make(map[string]*running), databases: make(map[string]Database), stop: make(chan struct{}),
	}
	if err := s.save(); err != nil {
		lock.Close()
		return nil, err
	}
	// Databases outlive their agents; whoever loses its parent becomes our child, so that its end is seen and collected
	// even where the machine's first process collects nobody.
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		log.Warn("the lab cannot collect orphans", "error", err)
	}
	s.wg.Go(s.collect)
	return s, nil
}

func lockPath(dir string) string { return filepath.Join(dir, "lock") }

func takeLock(dir string) (*os.File, error) {
	f, err := os.OpenFile(lockPath(dir), os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, errs.New(errs.Unavailable, "cannot lock the lab's folder: %w", err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		f.Close()
		return nil, errs.New(errs.Conflict, "a lab is running in %s; `perdure lab down` ends it", dir)
	}
	return f, nil
}

// Mark is an assignment of the environment by which processes that somebody else starts for the lab are found and ended with it.
func (s *Supervisor) Mark() string { return markName + "=" + s.mark }

// save writes down what Down needs; the caller holds mu or is alone.
func (s *Supervisor) save() error {
	id, _ := identify(os.Getpid())
	l := lab{Identity: id, Mark: s.mark, Residues: s.residues, Mounts: s.mounts}
	for _, d := range s.databases {
		l.Databases = append(l.Databases, d)
	}
	slices.SortFunc(l.Databases, func(a, b Database) int { return strings.Compare(a.Name, b.Name) })
	return writeJSON(filepath.Join(s.dir, "lab.json"), l)
}

func writeJSON(path string, v any) error {
	text, err := json.Marshal(v)
	if err == nil {
		err = os.WriteFile(path+".new", append(text, '\n'), 0o644)
	}
	if err == nil {
		err = os.Rename(path+".new", path)
	}
	if err != nil {
		return errs.New(errs.Unavailable, "cannot write down the lab's processes: %w", err)
	}
	return nil
}

func recordPath(dir, name string) string { return filepath.Join(dir, "processes", name+".json") }

// Start runs a process. A process of the same name must not be there yet.
func (s *Supervisor) Start(spec Spec) error {
	if spec.Name == "" || strings.ContainsAny(spec.Name, "/\x00") {
		return errs.New(errs.Invalid, "cannot run a process named %q", spec.Name)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closing {
		return errs.New(errs.Refused, "cannot start %s: the lab is being ended", spec.Name)
	}
	if s.procs[spec.Name] != nil {
		return errs.New(errs.Conflict, "process %s is there already", spec.Name)
	}
	r := &running{spec: spec, wake: make(chan struct{}, 1)}
	cmd, err := s.launch(r)
	if err != nil {
		return err
	}
	s.procs[spec.Name] = r
	s.wg.Go(func() { s.look(r, cmd) })
	return nil
}

// launch starts the program; the caller holds mu, so that the collector never takes it for an orphan.
func (s *Supervisor) launch(r *running) (*exec.Cmd, error) {
	spec := r.spec
	out, err := os.OpenFile(spec.Log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, errs.New(errs.Unavailable, "cannot start %s: %w", spec.Name, err)
	}
	defer out.Close()
	cmd := exec.Command(spec.Path, spec.Args...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = spec.Dir, out, out
	for _, name := range []string{"PATH", "HOME", "LANG", "TZ"} {
		if v, ok := os.LookupEnv(name); ok {
			cmd.Env = append(cmd.Env, name+"="+v)
		}
	}
	cmd.Env = append(append(cmd.Env, spec.Env...), s.Mark())
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Credential: spec.User}
	if err := cmd.Start(); err != nil {
		return nil, errs.New(errs.Unavailable, "cannot start %s: %w", spec.Name, err)
	}
	id, _ := identify(cmd.Process.Pid)
	r.id, r.state, r.since = id, Running, time.Now()
	if err := writeJSON(recordPath(s.dir, spec.Name), record{Identity: id, Name: spec.Name, Site: spec.Site}); err != nil {
		s.log.Warn("a process is not written down", "process", spec.Name, "error", err)
	}
	return cmd, nil
}

// look waits for the process to end and starts it again, until it is not to be.
func (s *Supervisor) look(r *running, cmd *exec.Cmd) {
	wait := backOffLeast
	for {
		err := cmd.Wait()
		s.mu.Lock()
		lived := time.Since(r.since)
		_ = os.Remove(recordPath(s.dir, r.spec.Name))
		r.id, r.since = Identity{}, time.Now()
		switch {
		case r.held || s.closing:
			r.state = Held
		case r.spec.Once:
			r.state = Ended
		default:
			r.state = Waiting
		}
		state := r.state
		s.mu.Unlock()
		s.log.Debug("process ended", "process", r.spec.Name, "how", describe(cmd, err), "lived", lived.Round(time.Millisecond), "state", state)
		if state == Ended {
			return
		}
		if lived > settled {
			wait = backOffLeast
		}
		if cmd = s.again(r, &wait); cmd == nil {
			return
		}
	}
}

// again starts the process once it may run; nil when the lab ends.
func (s *Supervisor) again(r *running, wait *time.Duration) *exec.Cmd {
	for {
		s.mu.Lock()
		held := r.held
		s.mu.Unlock()
		if held {
			select {
			case <-r.wake:
			case <-s.stop:
				return nil
			}
			*wait = 0
			continue
		}
		timer := time.NewTimer(*wait)
		select {
		case <-timer.C:
		case <-r.wake:
		case <-s.stop:
			timer.Stop()
			return nil
		}
		timer.Stop()
		*wait = min(max(2**wait, backOffLeast), backOffMost)
		s.mu.Lock()
		if s.closing {
			s.mu.Unlock()
			return nil
		}
		if r.held {
			s.mu.Unlock()
			continue
		}
		cmd, err := s.launch(r)
		if err == nil {
			r.restarts++
		}
		s.mu.Unlock()
		if err == nil {
			return cmd
		}
		s.log.Warn("process cannot be restarted", "process", r.spec.Name, "error", err)
	}
}

func describe(cmd *exec.Cmd, err error) string {
	if cmd.ProcessState != nil {
		return cmd.ProcessState.String()
	}
	return err.Error()
}

// AddDatabase says where a server that an agent starts has its data, so that it can be killed and ended like the others.
func (s *Supervisor) AddDatabase(d Database) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.databases[d.Name] = d
	return s.save()
}

// Status lists all processes by name.
func (s *Supervisor) Status() []Status {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []Status
	for name, r := range s.procs {
		st := Status{Name: name, Site: r.spec.Site, State: r.state, PID: r.id.PID, Restarts: r.restarts, Since: r.since, Log: r.spec.Log}
		if p, ok := readProcess(r.id.PID); ok && r.state == Running && p.state == 'T' {
			st.State = Frozen
		}
		all = append(all, st)
	}
	slices.SortFunc(all, func(a, b Status) int { return strings.Compare(a.Name, b.Name) })
	return all
}

// hold keeps processes from being restarted, or lets them run again.
func (s *Supervisor) hold(names []string, held bool) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, name := range names {
		if s.procs[name] == nil {
			return errs.New(errs.NotFound, "no process %q; there are: %s", name, strings.Join(s.names(), ", "))
		}
	}
	for _, name := range names {
		r := s.procs[name]
		r.held = held
		select {
		case r.wake <- struct{}{}:
		default:
		}
	}
	return nil
}

// names lists what runs; the caller holds mu.
func (s *Supervisor) names() []string {
	var names []string
	for n := range s.procs {
		names = append(names, n)
	}
	for n := range s.databases {
		names = append(names, n)
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// Resume lets processes run that Kill or Stop ended; they are started at once.
func (s *Supervisor) Resume(names ...string) error { return s.hold(names, false) }

// Stop asks a process to end, kills it when it has not after a few seconds, and keeps it from being restarted.
func (s *Supervisor) Stop(ctx context.Context, name string) error {
	if err := s.hold([]string{name}, true); err != nil {
		return err
	}
	s.mu.Lock()
	id := s.procs[name].id
	s.mu.Unlock()
	id.signal(syscall.SIGTERM)
	id.signal(syscall.SIGCONT)
	bound, cancel := context.WithTimeout(ctx, grace)
	defer cancel()
	if awaitEnd(bound, []Identity{id}) {
		return nil
	}
	id.signal(syscall.SIGKILL)
	if !awaitEnd(ctx, []Identity{id}) {
		return errs.New(errs.Unavailable, "%s does not end: %w", name, context.Cause(ctx))
	}
	return nil
}

// awaitEnd waits until none of the processes lives; false when ctx ends first.
func awaitEnd(ctx context.Context, ids []Identity) bool {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		if !slices.ContainsFunc(ids, Identity.lives) {
			return true
		}
		select {
		case <-ctx.Done():
			return false
		case <-tick.C:
		}
	}
}

// Close ends every process and everything they left, and gives the directory back.
func (s *Supervisor) Close() error {
	s.mu.Lock()
	if s.closing {
		s.mu.Unlock()
		return nil
	}
	s.closing = true
	close(s.stop)
	_ = s.save()
	s.mu.Unlock()
	_, err := sweep(s.dir, s.log)
	s.wg.Wait()
	s.lock.Close()
	_ = os.Remove(lockPath(s.dir))
	return err
}

// readLab reads what a supervisor wrote down; false where there is nothing.
func readLab(dir string) (lab, []record, bool, error) {
	var l lab
	text, err := os.ReadFile(filepath.Join(dir, "lab.json"))
	if errorIsMissing(err) {
		return l, nil, false, nil
	}
	if err == nil {
		err = json.Unmarshal(text, &l)
	}
	if err != nil {
		return l, nil, false, errs.New(errs.Unavailable, "cannot read what the lab wrote down: %w", err)
	}
	var records []record
	files, _ := filepath.Glob(filepath.Join(dir, "processes", "*.json"))
	for _, f := range files {
		var r record
		if text, err := os.ReadFile(f); err == nil && json.Unmarshal(text, &r) == nil {
			records = append(records, r)
		}
	}
	return l, records, true, nil
}

func errorIsMissing(err error) bool { return err != nil && os.IsNotExist(err) }
