package lab

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"perdure/internal/errs"
	"perdure/internal/estate"
	"perdure/internal/lab/history"
	"perdure/internal/lab/link"
	"perdure/internal/lab/proc"
	"perdure/internal/lab/site"
	"perdure/internal/lab/story"
)

// broken is a fault that lasts.
type broken struct {
	id      string
	fault   story.Fault
	names   []string // processes, "database …" for servers
	targets []string
	inside  []estate.SiteID
	event   history.Fault
	stop    func() // ends what the lab itself does, nil where it does nothing
	leader  bool   // its disk was chosen because it is that of the node that led the store
}

// kills reports whether what was hit stays down until it is started.
func (b *broken) kills() bool { return b.fault.Kind == story.Kill }

// apart are the sites that the fault keeps from the others, or from each other.
func (b *broken) apart() []estate.SiteID {
	if b.fault.Kind == story.Cut && b.fault.Link.To != "" && b.fault.Ports == "" {
		return []estate.SiteID{b.fault.Link.From, b.fault.Link.To}
	}
	return b.inside
}

// leaderWord stands for the node that leads the store, or for its disk.
const leaderWord = "leader"

// databaseWord in front of a member's name means its server, as in package proc.
const databaseWord = "database "

// fault breaks something and writes it into the history. One that needs rights the lab does not have is skipped by name.
func (r *running) fault(ctx context.Context, out *story.Progress, f story.Fault) error {
	b, err := r.aim(ctx, f)
	if err != nil {
		return err
	}
	b.event.Edge = history.Starts
	if err := r.hist.Fault(b.event); err != nil {
		return err
	}
	for _, s := range b.inside {
		r.inside(s, true)
	}
	err = r.strike(ctx, b)
	r.faultMu.Lock()
	r.struck = time.Now()
	r.faultMu.Unlock()
	if errors.Is(err, proc.ErrNoRights) {
		b.event.Skipped = err.Error()
		out.Say("   skipped: %v", err)
		return r.hist.Fault(b.end())
	}
	if err != nil {
		b.event.Skipped = err.Error()
		return errors.Join(err, r.hist.Fault(b.end()))
	}
	switch {
	case f.Kind == story.Crash, f.Kind == story.Kill && len(f.Databases) > 0, f.Kind == story.Terminate, f.Kind == story.Cancel, f.Kind == story.Promote, f.Kind == story.Restart:
		// Whoever looks after it starts it again: the fault is its death. What was terminated, cancelled, promoted or restarted is so at once.
		return r.hist.Fault(b.end())
	}
	r.faultMu.Lock()
	r.faults = append(r.faults, b)
	r.faultMu.Unlock()
	if f.For > 0 {
		r.later(f.For, b)
	}
	return nil
}

// end is the event that ends the fault.
func (b *broken) end() history.Fault {
	e := b.event
	e.Edge, e.At = history.Ends, history.Instant{}
	return e
}

// later ends a fault after its time.
func (r *running) later(d time.Duration, b *broken) {
	r.timers.Go(func() {
		timer := time.NewTimer(d)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-r.ended:
			return
		}
		_ = r.mend(context.Background(), b, false)
		r.mended(func(o *broken) bool { return o == b })
	})
}

// inside tells the live counters that clients of a site are cut off.
func (r *running) inside(s estate.SiteID, cut bool) {
	r.loadMu.Lock()
	defer r.loadMu.Unlock()
	if r.gen != nil {
		r.gen.Cut(s, cut)
	}
}

// aim finds out what a fault hits.
func (r *running) aim(ctx context.Context, f story.Fault) (*broken, error) {
	r.faultMu.Lock()
	r.aimed++
	b := &broken{id: fmt.Sprintf("f%d-%s", r.aimed, f.Kind), fault: f}
	r.faultMu.Unlock()
	var lives []estate.MemberID
	if f.Link != nil {
		if err := r.known(*f.Link); err != nil {
			return nil, err
		}
		b.targets = append(b.targets, linkName(*f.Link))
		if f.Link.To == "" && f.Ports == "" && f.Kind == story.Cut {
			b.inside = []estate.SiteID{f.Link.From}
		}
	}
	for _, s := range f.Sites {
		if r.layout.Number(s) == 0 {
			return nil, r.noSite(s)
		}
		b.targets = append(b.targets, "site "+string(s))
	}
	for _, name := range f.Processes {
		if name == leaderWord {
			var err error
			if name, err = r.leader(ctx); err != nil {
				return nil, err
			}
		}
		b.names = append(b.names, name)
	}
	for _, name := range f.Databases {
		member, err := r.database(ctx, name)
		if err != nil {
			return nil, err
		}
		b.names = append(b.names, serverName(f.Part, member))
		if f.Part != story.Agent && (f.Kind == story.Kill || f.Kind == story.Crash || f.Kind == story.Restart) {
			lives = append(lives, member)
		}
	}
	for _, name := range b.names {
		if f.Part != story.Whole && f.Part != story.Agent {
			name = string(f.Part) + " of " + name
		}
		b.targets = append(b.targets, name)
	}
	if f.Disk == leaderWord {
		var err error
		if b.fault.Disk, err = r.leader(ctx); err != nil {
			return nil, err
		}
		b.leader = true
	}
	if f.Disk != "" {
		b.targets = append(b.targets, "disk "+b.fault.Disk)
	}
	what := string(f.Kind)
	if f.Link != nil && f.Link.There != f.Link.Back {
		what = "one-way " + what
	}
	b.event = history.Fault{ID: fmt.Sprintf("%s-%d", b.id, r.hist.Since().Milliseconds()), What: what, Targets: b.targets, Inside: b.inside, Lives: lives, Harmless: f.Harmless}
	return b, nil
}

func linkName(l story.Link) string {
	to := string(l.To)
	if to == "" {
		to = "all"
	}
	switch {
	case l.There && l.Back:
		return string(l.From) + "-" + to
	case l.There:
		return string(l.From) + ">" + to
	}
	return to + ">" + string(l.From)
}

func (r *running) known(l story.Link) error {
	for _, s := range []estate.SiteID{l.From, l.To} {
		if s != "" && r.layout.Number(s) == 0 {
			return r.noSite(s)
		}
	}
	return nil
}

// paths lists the directions of a link.
func (r *running) paths(l story.Link) []link.Path {
	var all []link.Path
	from := r.layout.Number(l.From)
	for n, s := range r.layout.Sites {
		if s == l.From || l.To != "" && s != l.To {
			continue
		}
		p := link.Path{From: from, To: n + 1}
		if l.There {
			all = append(all, p)
		}
		if l.Back {
			all = append(all, p.Reverse())
		}
	}
	return all
}

// ports gives the ports of a group's name, none for all.
func (r *running) ports(group string) []int {
	if group == "" {
		return nil
	}
	return r.layout.Ports(site.Kind(group))
}

// leader is the process of the node that leads the store.
func (r *running) leader(ctx context.Context) (string, error) {
	c, err := r.as("", "")
	if err != nil {
		return "", err
	}
	e, err := c.Estate(ctx)
	if err != nil {
		return "", err
	}
	for _, m := range e.Store.Members {
		if m.ID == e.Store.Leader || m.Name == e.Store.Leader {
			return "node-" + m.Name, nil
		}
	}
	if e.Store.Leader == "" {
		return "", errs.New(errs.Unavailable, "the store has no leader at the moment")
	}
	return "node-" + e.Store.Leader, nil
}

// database finds the member that a story's name for a database means: a member, a unit's owner, or a copy of a unit.
func (r *running) database(ctx context.Context, name string) (estate.MemberID, error) {
	if _, ok := r.layout.DataDir(estate.MemberID(name)); ok {
		return estate.MemberID(name), nil
	}
	u, isCopy := strings.CutPrefix(name, "copy of ")
	rec, err := r.groupOf(ctx, estate.UnitID(u))
	if err != nil {
		return "", err
	}
	if !isCopy {
		return rec.Owner.Member, nil
	}
	if len(rec.InSync) == 0 {
		return "", errs.New(errs.Conflict, "%s has no in-sync copy at the moment", u)
	}
	return rec.InSync[0].Member, nil
}

// strike does what the fault says.
func (r *running) strike(ctx context.Context, b *broken) error {
	f := b.fault
	if f.Part != story.Whole || f.Kind == story.Promote || f.Kind == story.Restart {
		return r.strikeServer(ctx, b)
	}
	switch f.Kind {
	case story.Cut:
		for _, p := range r.paths(*f.Link) {
			r.net.Cut(p, r.ports(f.Ports)...)
		}
		return nil
	case story.Loss:
		for _, p := range r.paths(*f.Link) {
			r.net.SetLoss(p, f.Share, f.Stall)
		}
		return nil
	case story.Kill:
		if len(f.Sites) > 0 {
			return r.eachSite(f.Sites, func(s estate.SiteID) error { return r.sup.KillSite(ctx, s) })
		}
		return r.sup.Kill(ctx, b.names...)
	case story.Crash:
		return r.sup.Crash(ctx, b.names...)
	case story.Freeze:
		if f.Link != nil {
			for _, p := range r.paths(*f.Link) {
				r.net.Freeze(p, f.For, r.ports(f.Ports)...)
			}
			return nil
		}
		if len(f.Sites) > 0 {
			return r.eachSite(f.Sites, r.sup.FreezeSite)
		}
		return r.sup.Freeze(b.names...)
	case story.Fill:
		dir, err := r.diskDir(f.Disk)
		if err != nil {
			return err
		}
		if !r.sup.Privileged() {
			return errs.New(errs.Refused, "full disk of %s: %w", f.Disk, proc.ErrNoRights)
		}
		return r.sup.FillDisk(dir)
	case story.Stall:
		dir, err := r.diskDir(f.Disk)
		if err != nil {
			return err
		}
		return r.sup.StallDisk(dir)
	case story.Deadlock:
		return r.lockWrongly(ctx, b)
	case story.Starve:
		for i := range f.Loops {
			b.names = append(b.names, fmt.Sprintf("starve-%s-%d", b.event.ID, i))
			if err := r.sup.Start(proc.Spec{
				Name: b.names[i], Path: "/bin/sh", Args: []string{"-c", "while :; do :; done"}, Dir: "/", Log: "/dev/null", Once: true,
			}); err != nil {
				return err
			}
		}
		return nil
	case story.Clone:
		var err error
		b.names, err = r.clones(ctx, b.id, b.names)
		return err
	case story.Terminate, story.Cancel, story.Promote, story.Restart: // strikeServer
	}
	return errs.New(errs.Internal, "the lab does not know the fault %s", f.Kind)
}

// eachSite hits several sites at the same moment.
func (r *running) eachSite(sites []estate.SiteID, hit func(estate.SiteID) error) error {
	errors := make(chan error, len(sites))
	for _, s := range sites {
		go func() { errors <- hit(s) }()
	}
	var first error
	for range sites {
		if err := <-errors; err != nil && first == nil {
			first = err
		}
	}
	return first
}

// mend ends a fault.
func (r *running) mend(ctx context.Context, b *broken, reset bool) error {
	f := b.fault
	how := link.Resume
	if reset {
		how = link.Reset
	}
	switch f.Kind {
	case story.Cut:
		for _, p := range r.paths(*f.Link) {
			r.net.Heal(p, how)
		}
	case story.Loss:
		for _, p := range r.paths(*f.Link) {
			r.net.SetLoss(p, 0, 0)
		}
	case story.Freeze:
		for _, s := range f.Sites {
			if err := r.sup.ThawSite(s); err != nil {
				return err
			}
		}
		if len(b.names) > 0 {
			return r.sup.Thaw(b.names...)
		}
	case story.Fill:
		dir, err := r.diskDir(f.Disk)
		if err != nil {
			return err
		}
		return r.sup.FreeDisk(dir)
	case story.Stall:
		dir, err := r.diskDir(f.Disk)
		if err != nil {
			return err
		}
		return r.sup.ResumeDisk(dir)
	case story.Deadlock:
		b.stop()
	case story.Starve, story.Clone:
		return r.sup.Kill(ctx, b.names...)
	case story.Kill:
		for _, s := range f.Sites {
			if err := r.resume(ctx, story.Start{Sites: []estate.SiteID{s}}); err != nil {
				return err
			}
		}
		var held []string
		for _, n := range b.names {
			if !strings.HasPrefix(n, databaseWord) {
				held = append(held, n)
			}
		}
		if len(held) > 0 {
			return r.sup.Resume(held...)
		}
	case story.Crash, story.Terminate, story.Cancel, story.Promote, story.Restart:
	}
	return nil
}

// mended writes the end of the faults into the history and forgets them.
func (r *running) mended(which func(*broken) bool) {
	r.faultMu.Lock()
	var over []*broken
	r.faults = slices.DeleteFunc(r.faults, func(b *broken) bool {
		if which(b) {
			over = append(over, b)
			return true
		}
		return false
	})
	r.faultMu.Unlock()
	for _, b := range over {
		_ = r.hist.Fault(b.end())
		for _, s := range b.inside {
			r.inside(s, false)
		}
	}
}

// heal ends the faults that are named, or all.
func (r *running) heal(ctx context.Context, h story.Heal) error {
	names, err := r.healed(ctx, h)
	if err != nil {
		return err
	}
	meant := func(b *broken) bool {
		f := b.fault
		switch {
		case h.All:
			return true
		case h.Link != nil:
			return f.Link != nil && f.Kind != story.Freeze && overlap(r.paths(*h.Link), r.paths(*f.Link))
		case h.Starve:
			return f.Kind == story.Starve
		case h.Disk != "":
			return f.Disk == h.Disk || b.leader && h.Disk == leaderWord // whoever leads by now
		case len(h.Sites) > 0:
			return f.Link == nil && slices.ContainsFunc(f.Sites, in(h.Sites))
		}
		return slices.ContainsFunc(b.names, in(names))
	}
	r.faultMu.Lock()
	var over []*broken
	for _, b := range r.faults {
		if meant(b) {
			over = append(over, b)
		}
	}
	r.faultMu.Unlock()
	if len(over) == 0 && !h.All {
		return errs.New(errs.NotFound, "there is no such fault to heal")
	}
	for _, b := range over {
		// A cut-off owner is read before its successor and its agent learn of each other.
		for _, s := range b.apart() {
			if err := r.copyFormer(ctx, s, false); err != nil {
				return err
			}
		}
		if err := r.mend(ctx, b, h.Reset); err != nil {
			return err
		}
	}
	r.mended(func(b *broken) bool { return slices.Contains(over, b) })
	return nil
}

// healed resolves the names of processes and databases.
func (r *running) healed(ctx context.Context, h story.Heal) ([]string, error) {
	names := slices.Clone(h.Processes)
	for _, d := range h.Databases {
		m, err := r.database(ctx, d)
		if err != nil {
			return nil, err
		}
		names = append(names, databaseWord+string(m))
	}
	return names, nil
}

func overlap(a, b []link.Path) bool { return slices.ContainsFunc(a, in(b)) }

// in reports membership of a list, for searching another.
func in[T comparable](list []T) func(T) bool {
	return func(x T) bool { return slices.Contains(list, x) }
}

// latency changes the delay of a link.
func (r *running) latency(a story.Latency) error {
	if err := r.known(a.Link); err != nil {
		return err
	}
	for _, p := range r.paths(a.Link) {
		r.net.SetLatency(p, a.Delay)
	}
	return nil
}

// diskDir is the directory that gets a small disk: everything a member's agent, or a node, keeps.
func (r *running) diskDir(target string) (string, error) {
	for _, p := range r.layout.Processes {
		if p.Name == target || string(p.Member()) == target {
			return p.Dir, nil
		}
	}
	return "", errs.New(errs.NotFound, "there is no member or node %q", target)
}

// smallDisk mounts one; without the rights for it the fault that needs it is skipped later.
func (r *running) smallDisk(d story.Disk) error {
	dir, err := r.diskDir(d.Target)
	if err != nil {
		return err
	}
	mount := r.sup.SmallDisk
	if d.Stallable {
		mount = r.sup.StallableDisk
	}
	if err := mount(dir, d.Bytes, nil); err != nil && !errors.Is(err, proc.ErrNoRights) {
		return err
	}
	return nil
}
