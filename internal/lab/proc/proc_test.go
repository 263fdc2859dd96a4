package proc

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"perdure/internal/errs"
	"perdure/internal/pgtest"
)

// patience is how long a test waits for what must happen.
const patience = 60 * time.Second

// supervisorEnv makes the test binary a supervisor in the directory it names, for tests that kill it.
const supervisorEnv = "PERDURE_TEST_SUPERVISOR"

func TestMain(m *testing.M) {
	if dir := os.Getenv(supervisorEnv); dir != "" {
		s, err := New(dir, nil)
		if err == nil {
			err = s.Start(shell(dir, "one", "a", family3))
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		fmt.Println("up")
		select {}
	}
	os.Exit(m.Run())
}

// family3 is a process with a child in its group and a grandchild that left group and session.
const family3 = `sleep 100000 & setsid sh -c 'echo $$ > far; exec sleep 100000' & echo $$ > near; wait`

func shell(dir, name, site, script string) Spec {
	return Spec{Name: name, Site: "a", Path: "/bin/sh", Args: []string{"-c", script}, Dir: dir, Log: filepath.Join(dir, name+".log")}
}

func newSupervisor(t *testing.T) (*Supervisor, string) {
	t.Helper()
	dir := t.TempDir()
	s, err := New(dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		for _, f := range []string{"lab.json", "lock"} {
			if _, err := os.Stat(filepath.Join(dir, f)); err == nil {
				t.Errorf("%s is left behind", f)
			}
		}
	})
	return s, dir
}

func start(t *testing.T, s *Supervisor, spec Spec) {
	t.Helper()
	if err := s.Start(spec); err != nil {
		t.Fatal(err)
	}
}

// waitFor tries until the fact holds.
func waitFor(t *testing.T, what string, fact func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !fact() {
		select {
		case <-ctx.Done():
			t.Fatalf("never came true: %s", what)
		case <-tick.C:
		}
	}
}

// pidIn reads a process number that a script wrote.
func pidIn(t *testing.T, dir, file string) Identity {
	t.Helper()
	var id Identity
	waitFor(t, "a process writes "+file, func() bool {
		text, err := os.ReadFile(filepath.Join(dir, file))
		pid, err2 := strconv.Atoi(strings.TrimSpace(string(text)))
		if err != nil || err2 != nil {
			return false
		}
		var ok bool
		id, ok = identify(pid)
		return ok
	})
	return id
}

func (s *Supervisor) find(name string) Status {
	for _, st := range s.Status() {
		if st.Name == name {
			return st
		}
	}
	return Status{}
}

func TestWhatDiesIsRestarted(t *testing.T) {
	s, dir := newSupervisor(t)
	start(t, s, shell(dir, "one", "a", "exec sleep 100000"))
	first := s.find("one")
	if first.State != Running || first.PID == 0 {
		t.Fatalf("status %+v", first)
	}
	if err := s.Crash(t.Context(), "one"); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "restarted", func() bool {
		st := s.find("one")
		return st.State == Running && st.PID != first.PID && st.Restarts == 1
	})
}

func TestWhatRunsOnceIsNotRestarted(t *testing.T) {
	s, dir := newSupervisor(t)
	spec := shell(dir, "one", "a", "exit 3")
	spec.Once = true
	start(t, s, spec)
	waitFor(t, "ended", func() bool { return s.find("one").State == Ended })
}

func TestKilledStaysDownUntilResumed(t *testing.T) {
	s, dir := newSupervisor(t)
	start(t, s, shell(dir, "one", "a", "exec sleep 100000"))
	if err := s.Kill(t.Context(), "one"); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "held", func() bool { return s.find("one").State == Held })
	if err := s.Resume("one"); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "running again", func() bool { return s.find("one").State == Running })
}

func TestStopEndsWhoIgnoresTheRequest(t *testing.T) {
	s, dir := newSupervisor(t)
	start(t, s, shell(dir, "polite", "a", "exec sleep 100000"))
	if err := s.Stop(t.Context(), "polite"); err != nil {
		t.Fatal(err)
	}
	start(t, s, shell(dir, "deaf", "a", "trap '' TERM; echo $$ > deaf.pid; while :; do sleep 1; done"))
	id := pidIn(t, dir, "deaf.pid")
	if err := s.Stop(t.Context(), "deaf"); err != nil {
		t.Fatal(err)
	}
	if id.lives() {
		t.Error("it lives on")
	}
}

func TestSiteIsKilledWithEverybodyWhoCameFromIt(t *testing.T) {
	s, dir := newSupervisor(t)
	start(t, s, shell(dir, "one", "a", family3))
	other := shell(dir, "two", "b", "exec sleep 100000")
	other.Site = "b"
	start(t, s, other)
	near, far := pidIn(t, dir, "near"), pidIn(t, dir, "far")
	if err := s.KillSite(t.Context(), "a"); err != nil {
		t.Fatal(err)
	}
	if near.lives() || far.lives() {
		t.Error("somebody of site a lives on")
	}
	if st := s.find("two"); st.State != Running || st.Restarts != 0 {
		t.Errorf("site b was touched: %+v", st)
	}
	os.Remove(filepath.Join(dir, "near"))
	if err := s.ResumeSite("a"); err != nil {
		t.Fatal(err)
	}
	pidIn(t, dir, "near")
}

func TestFrozenProcessesGoOnWhenThawed(t *testing.T) {
	s, dir := newSupervisor(t)
	start(t, s, shell(dir, "one", "a", family3))
	far := pidIn(t, dir, "far")
	if err := s.FreezeSite("a"); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "all are stopped", func() bool {
		p, _ := readProcess(far.PID)
		return p.state == 'T' && s.find("one").State == Frozen
	})
	if err := s.ThawSite("a"); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "all go on", func() bool {
		p, _ := readProcess(far.PID)
		return p.state != 'T' && s.find("one").State == Running
	})
	if s.find("one").Restarts != 0 {
		t.Error("a frozen process was restarted")
	}
}

func TestUnknownNamesAreRefusedWithTheKnownOnes(t *testing.T) {
	s, dir := newSupervisor(t)
	start(t, s, shell(dir, "one", "a", "exec sleep 100000"))
	for _, err := range []error{
		s.Kill(t.Context(), "two"), s.Freeze("two"), s.Resume("two"), s.Stop(t.Context(), "two"), s.Kill(t.Context(), "database two"),
	} {
		if errs.KindOf(err) != errs.NotFound || !strings.Contains(err.Error(), "one") {
			t.Errorf("error %v", err)
		}
	}
	if err := s.Start(shell(dir, "one", "a", "exit")); errs.KindOf(err) != errs.Conflict {
		t.Errorf("error %v", err)
	}
}

func TestSecondLabInOneDirectoryIsRefused(t *testing.T) {
	_, dir := newSupervisor(t)
	if _, err := New(dir, nil); errs.KindOf(err) != errs.Conflict || !strings.Contains(err.Error(), "lab down") {
		t.Errorf("error %v", err)
	}
}

func TestDownEndsWhatAKilledSupervisorLeft(t *testing.T) {
	dir := t.TempDir()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), supervisorEnv+"="+dir)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := out.Read(make([]byte, 3)); err != nil {
		t.Fatal(err)
	}
	near, far := pidIn(t, dir, "near"), pidIn(t, dir, "far")
	if _, ok := Alive(dir); !ok {
		t.Error("the supervisor is not seen alive")
	}
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
	if !near.lives() || !far.lives() {
		t.Fatal("the processes did not outlive their supervisor: nothing is tested")
	}
	ended, err := Down(t.Context(), dir, nil)
	if err != nil || ended < 2 {
		t.Errorf("ended %d, error %v", ended, err)
	}
	if near.lives() || far.lives() {
		t.Error("somebody lives on")
	}
	if ended, err := Down(t.Context(), dir, nil); ended != 0 || err != nil {
		t.Errorf("second down ended %d, error %v", ended, err)
	}
}

func TestDownAsksALiveSupervisorToEnd(t *testing.T) {
	dir := t.TempDir()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), supervisorEnv+"="+dir)
	out, _ := cmd.StdoutPipe()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := out.Read(make([]byte, 3)); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	if _, err := Down(t.Context(), dir, nil); err != nil {
		t.Fatal(err)
	}
	<-ended
}

func TestDownSparesWhoGotTheNumberLater(t *testing.T) {
	dir := t.TempDir()
	stranger := exec.Command("sleep", "100000")
	if err := stranger.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = stranger.Process.Kill(); _ = stranger.Wait() }()
	id, _ := identify(stranger.Process.Pid)
	id.Start--
	if err := os.Mkdir(filepath.Join(dir, "processes"), 0o755); err != nil {
		t.Fatal(err)
	}
	old := Identity{PID: 4194303, Start: 1, Boot: bootID()}
	if err := errors.Join(
		writeJSON(recordPath(dir, "one"), record{Identity: id, Name: "one"}),
		writeJSON(filepath.Join(dir, "lab.json"), lab{Identity: old, Mark: "none"}),
	); err != nil {
		t.Fatal(err)
	}
	if ended, err := Down(t.Context(), dir, nil); ended != 0 || err != nil {
		t.Errorf("ended %d, error %v", ended, err)
	}
	if now, _ := identify(stranger.Process.Pid); !now.lives() {
		t.Error("a stranger was killed")
	}
}

func TestProcessTableIsReadWhateverTheName(t *testing.T) {
	dir := t.TempDir()
	odd := filepath.Join(dir, "a) R (b")
	sleep, err := exec.LookPath("sleep")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(sleep, odd); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(odd, "100000")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }()
	p, ok := readProcess(cmd.Process.Pid)
	if !ok || p.name != "a) R (b" || p.parent != os.Getpid() || p.start == 0 {
		t.Errorf("read %+v", p)
	}
}

func TestSmallDiskIsFilledAndFreedAndUnmounted(t *testing.T) {
	s, dir := newSupervisor(t)
	disk := filepath.Join(dir, "disk")
	if err := s.SmallDisk(disk, 4<<20, nil); errors.Is(err, ErrNoRights) {
		t.Skip(err)
	} else if err != nil {
		t.Fatal(err)
	}
	if err := s.FillDisk(disk); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(disk, "x"), make([]byte, 8192), 0o600); !errors.Is(err, unix.ENOSPC) {
		t.Errorf("error %v, want a full disk", err)
	}
	if err := s.FreeDisk(disk); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(disk, "x"), make([]byte, 8192), 0o600); err != nil {
		t.Error(err)
	}
	if err := s.FillDisk(dir); errs.KindOf(err) != errs.Refused {
		t.Errorf("error %v: the machine's own disk must not be filled", err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if (Mount{Dir: real(disk)}).mounted() {
		t.Error("the mount is left behind")
	}
}

func TestStallableDiskStandsStillUntilItIsResumedOrTheLabEnds(t *testing.T) {
	s, dir := newSupervisor(t)
	disk := filepath.Join(dir, "disk")
	if err := s.StallableDisk(disk, 16<<20, nil); errors.Is(err, ErrNoRights) {
		t.Skip(err)
	} else if err != nil {
		t.Fatal(err)
	}
	m, ok := s.stallable(disk)
	if !ok {
		t.Fatal("it is not mounted")
	}
	write := func() chan error {
		wrote := make(chan error, 1)
		go func() { wrote <- os.WriteFile(filepath.Join(disk, "x"), make([]byte, 8192), 0o600) }()
		return wrote
	}
	if err := s.StallDisk(disk); err != nil {
		t.Fatal(err)
	}
	wrote := write()
	select {
	case err := <-wrote:
		t.Errorf("written to a disk that stands still: %v", err)
	case <-time.After(100 * time.Millisecond):
	}
	if err := errors.Join(s.ResumeDisk(disk), s.ResumeDisk(disk)); err != nil {
		t.Fatal(err)
	}
	if err := <-wrote; err != nil {
		t.Error(err)
	}
	if err := s.StallDisk(dir); !errors.Is(err, ErrNoRights) {
		t.Errorf("error %v: the machine's own disk must not be stalled", err)
	}
	if err := s.StallDisk(disk); err != nil {
		t.Fatal(err)
	}
	wrote = write()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	<-wrote // whatever became of it, it is not held up for ever
	if _, err := os.Stat(m.Image); m.mounted() || !os.IsNotExist(err) {
		t.Errorf("the disk is left behind: %v", err)
	}
}

// database makes a PostgreSQL data directory and the script of an agent that starts its server in the background.
func database(t *testing.T, dir string) (Database, string) {
	t.Helper()
	pg := pgtest.New(t, pgtest.Options{Settings: map[string]string{"listen_addresses": ""}})
	pg.Configure(map[string]string{"unix_socket_directories": pg.Socket})
	d := Database{Name: "u1-a", Site: "a", Dir: pg.Dir}
	bin, err := pgtest.BinDir()
	if err != nil {
		t.Fatal(err)
	}
	// Agents run under the lab's user; here the test may be root, whom the server refuses.
	as := ""
	if os.Geteuid() == 0 {
		as = "setpriv --reuid postgres --regid postgres --clear-groups "
	}
	return d, fmt.Sprintf("cd / && until %s%s/pg_ctl -D %s -w start; do sleep 0.1; done; exec sleep 100000", as, bin, pg.Dir)
}

func TestDatabaseIsKilledWithItsSiteAndLeavesNothing(t *testing.T) {
	s, dir := newSupervisor(t)
	d, script := database(t, dir)
	if err := s.AddDatabase(d); err != nil {
		t.Fatal(err)
	}
	start(t, s, shell(dir, "agent-u1-a", "a", script))
	var server Identity
	up := func() bool {
		var ok bool
		server, ok = d.postmaster()
		return ok && strings.Contains(status(d.Dir), "ready")
	}
	waitFor(t, "the server runs", up)
	left := d.leftovers()
	if left.ID < 0 {
		t.Error("the server's shared memory is not known")
	}

	if err := s.Crash(t.Context(), "database u1-a"); err != nil {
		t.Fatal(err)
	}
	if server.lives() {
		t.Error("the server lives on")
	}
	if s.find("agent-u1-a").Restarts != 0 {
		t.Error("the agent was touched")
	}

	if err := s.Crash(t.Context(), "agent-u1-a"); err != nil { // it comes back and starts the server again
		t.Fatal(err)
	}
	waitFor(t, "the server runs again", up)
	if err := s.Freeze("database u1-a"); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "the server is stopped", func() bool { p, _ := readProcess(server.PID); return p.state == 'T' })
	if err := s.KillSite(t.Context(), "a"); err != nil {
		t.Fatal(err)
	}
	if server.lives() {
		t.Error("the server outlived its site")
	}
	left = d.leftovers()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	var shm unix.SysvShmDesc
	if _, err := unix.SysvShmCtl(left.ID, unix.IPC_STAT, &shm); err == nil && shm.Perm.Key == int32(left.Key) {
		t.Error("shared memory is left behind")
	}
}

// status is the line of postmaster.pid that says how far the server is.
func status(dir string) string {
	text, _ := os.ReadFile(filepath.Join(dir, "postmaster.pid"))
	lines := strings.Split(string(text), "\n")
	if len(lines) < 8 {
		return ""
	}
	return lines[7]
}

func TestServerIsFoundOnlyInItsOwnDirectory(t *testing.T) {
	dir := t.TempDir()
	id, _ := identify(os.Getpid())
	if err := os.WriteFile(filepath.Join(dir, "postmaster.pid"), fmt.Appendf(nil, "%d\n%s\n", id.PID, dir), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, ok := (Database{Dir: dir}).postmaster(); ok {
		t.Error("a process that works elsewhere was taken for the server")
	}
}
