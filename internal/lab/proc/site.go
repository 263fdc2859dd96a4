package proc

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"perdure/internal/errs"
	"perdure/internal/estate"
)

// rounds bounds how often a set of processes is looked for again while it is being stopped: who forks faster than that
// is killed with its parent gone.
const rounds = 8

// Kill ends processes and databases at once, as kill -9 does, with all they started, and keeps them from being restarted until Resume.
// A database alone is named by its member's name with "database " in front: its agent may start it again.
func (s *Supervisor) Kill(ctx context.Context, names ...string) error {
	roots, err := s.roots(names)
	if err != nil {
		return err
	}
	if err := s.hold(processNames(names), true); err != nil {
		return err
	}
	return s.kill(ctx, roots)
}

// Crash ends processes at once like Kill, and lets the supervisor restart them as it would after any death.
func (s *Supervisor) Crash(ctx context.Context, names ...string) error {
	roots, err := s.roots(names)
	if err != nil {
		return err
	}
	return s.kill(ctx, roots)
}

// KillSite ends everything that runs at a site, as a loss of power does, and keeps it down until ResumeSite.
func (s *Supervisor) KillSite(ctx context.Context, site estate.SiteID) error {
	names := s.at(site)
	if err := s.hold(processNames(names), true); err != nil {
		return err
	}
	roots, err := s.roots(names)
	if err != nil {
		return err
	}
	return s.kill(ctx, roots)
}

// ResumeSite starts everything at a site that KillSite ended.
func (s *Supervisor) ResumeSite(site estate.SiteID) error {
	return s.Resume(processNames(s.at(site))...)
}

// Freeze stops processes and databases, with all they started, as a hung machine does; Thaw lets them go on.
func (s *Supervisor) Freeze(names ...string) error {
	roots, err := s.roots(names)
	if err != nil {
		return err
	}
	s.freeze(roots)
	return nil
}

// Thaw lets frozen processes go on.
func (s *Supervisor) Thaw(names ...string) error {
	roots, err := s.roots(names)
	if err != nil {
		return err
	}
	signalAll(family(processes(), roots), syscall.SIGCONT)
	return nil
}

// Part is a part of a database server: those of its processes whose title contains the text, or the first of them alone.
type Part struct {
	Title string
	One   bool
}

// SignalPart sends a signal to a part of the server of a member. That there is nobody of the part is an error: the fault would be none.
func (s *Supervisor) SignalPart(member string, part Part, sig syscall.Signal) error {
	roots, err := s.roots([]string{databaseWord + member})
	if err != nil {
		return err
	}
	found := map[int]bool{}
	for _, p := range processes() {
		if roots[p.parent] && strings.Contains(commandLine(p.pid), part.Title) {
			found[p.pid] = true
			if part.One {
				break
			}
		}
	}
	if len(found) == 0 {
		return errs.New(errs.NotFound, "the server of %s has no process %q at the moment", member, strings.TrimSpace(part.Title))
	}
	s.signalEach(found, sig)
	return nil
}

// RestartDatabase kills a server and starts it again with the same arguments, as a person or another supervisor does that knows nothing
// of its agent. user is who runs it, nil for the present one.
func (s *Supervisor) RestartDatabase(ctx context.Context, member string, user *syscall.Credential) error {
	roots, err := s.roots([]string{databaseWord + member})
	if err != nil {
		return err
	}
	for pid := range roots {
		args, dir := arguments(pid), workingDir(pid)
		if len(args) == 0 || dir == "" {
			break
		}
		cmd := exec.Command(args[0], args[1:]...)
		// The mark in the environment goes with it, so it ends with the lab.
		cmd.Dir, cmd.Env, cmd.SysProcAttr = dir, environment(pid), &syscall.SysProcAttr{Credential: user, Setsid: true}
		if err := s.kill(ctx, roots); err != nil {
			return err
		}
		// Its agent stands still and has not taken note of the death, so the lock files look like those of a living server.
		forgetLocks(dir, args)
		if err := cmd.Start(); err != nil {
			return errs.New(errs.Unavailable, "cannot start the server of %s by hand: %w", member, err)
		}
		s.wg.Go(func() { _ = cmd.Wait() }) // how it ended is nobody's business here: it is killed with the lab
		return nil
	}
	return errs.New(errs.NotFound, "the server of %s does not run", member)
}

// forgetLocks removes the lock files of a server that was killed.
func forgetLocks(dir string, args []string) {
	locks := []string{filepath.Join(dir, "postmaster.pid")}
	for _, a := range args {
		if sockets, ok := strings.CutPrefix(a, "unix_socket_directories="); ok {
			for d := range strings.SplitSeq(sockets, ",") {
				found, _ := filepath.Glob(filepath.Join(strings.Trim(d, ` "`), ".s.PGSQL.*.lock"))
				locks = append(locks, found...)
			}
		}
	}
	for _, l := range locks {
		_ = os.Remove(l) // one that is still there keeps the server from starting, and that shows
	}
}

// SignalAlone sends a signal to a process and to nobody that it started: a server goes on without its agent, and its sessions go on until
// they find out that its first process is gone. That it does not run is an error: the fault would be none.
func (s *Supervisor) SignalAlone(name string, sig syscall.Signal) error {
	roots, err := s.roots([]string{name})
	if err != nil {
		return err
	}
	if len(roots) == 0 {
		return errs.New(errs.NotFound, "%s does not run at the moment", name)
	}
	s.signalEach(roots, sig)
	return nil
}

// signalEach signals processes; what a server that is killed by it leaves behind is written down first.
func (s *Supervisor) signalEach(pids map[int]bool, sig syscall.Signal) {
	if sig == syscall.SIGKILL {
		s.note(pids)
	}
	signalAll(pids, sig)
}

// FreezeSite stops everything that runs at a site.
func (s *Supervisor) FreezeSite(site estate.SiteID) error { return s.Freeze(s.at(site)...) }

// ThawSite lets everything at a site go on.
func (s *Supervisor) ThawSite(site estate.SiteID) error { return s.Thaw(s.at(site)...) }

// databaseWord in front of a member's name means its server and not its agent.
const databaseWord = "database "

// processNames leaves out the databases.
func processNames(names []string) []string {
	return slices.DeleteFunc(slices.Clone(names), func(n string) bool { return strings.HasPrefix(n, databaseWord) })
}

// at names everything at the site, processes and databases.
func (s *Supervisor) at(site estate.SiteID) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var names []string
	for name, r := range s.procs {
		if r.spec.Site == site {
			names = append(names, name)
		}
	}
	for name, d := range s.databases {
		if d.Site == site {
			names = append(names, databaseWord+name)
		}
	}
	slices.Sort(names)
	return names
}

// roots finds the processes that run under the names; those that do not run are left out.
func (s *Supervisor) roots(names []string) (map[int]bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	found := make(map[int]bool)
	for _, name := range names {
		if member, ok := strings.CutPrefix(name, databaseWord); ok {
			d, ok := s.databases[member]
			if !ok {
				return nil, errs.New(errs.NotFound, "no database %q; there are: %s", member, strings.Join(s.names(), ", "))
			}
			if id, ok := d.postmaster(); ok {
				found[id.PID] = true
			}
			continue
		}
		r := s.procs[name]
		if r == nil {
			return nil, errs.New(errs.NotFound, "no process %q; there are: %s", name, strings.Join(s.names(), ", "))
		}
		if r.id.lives() {
			found[r.id.PID] = true
		}
	}
	return found, nil
}

// freeze stops the processes and whoever came from them, again until nobody new is found.
func (s *Supervisor) freeze(roots map[int]bool) map[int]bool {
	var all map[int]bool
	for range rounds {
		before := len(all)
		all = family(processes(), roots)
		signalAll(all, syscall.SIGSTOP)
		if len(all) == before {
			break
		}
	}
	return all
}

// kill ends the processes and whoever came from them together: they are stopped first, so that none sees another die.
func (s *Supervisor) kill(ctx context.Context, roots map[int]bool) error {
	if len(roots) == 0 {
		return nil
	}
	s.note(roots)
	all := s.freeze(roots)
	var ids []Identity
	for pid := range all {
		if id, ok := identify(pid); ok {
			ids = append(ids, id)
		}
	}
	signalAll(all, syscall.SIGKILL)
	bound, cancel := context.WithTimeout(ctx, gone)
	defer cancel()
	if !awaitEnd(bound, ids) {
		return errs.New(errs.Unavailable, "killed processes are still there after %v", gone)
	}
	s.collectNow(bound, ids)
	return nil
}

// note writes down what the databases among the processes will leave in the kernel.
func (s *Supervisor) note(roots map[int]bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, d := range s.databases {
		if id, ok := d.postmaster(); ok && roots[id.PID] {
			if r := d.leftovers(); r.ID >= 0 || len(r.Memory) > 0 {
				s.residues = append(s.residues, r)
			}
		}
	}
	if err := s.save(); err != nil {
		s.log.Warn("what a killed database leaves is not written down", "error", err)
	}
}

// signalAll signals each process that is still there.
func signalAll(pids map[int]bool, sig syscall.Signal) {
	for pid := range pids {
		if pid > 1 {
			_ = syscall.Kill(pid, sig)
		}
	}
}
