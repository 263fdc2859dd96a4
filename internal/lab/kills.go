package lab

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"perdure/internal/client"
	"perdure/internal/errs"
	"perdure/internal/estate"
	"perdure/internal/lab/history"
	"perdure/internal/lab/kills"
	"perdure/internal/lab/proc"
	"perdure/internal/lab/site"
	"perdure/internal/lab/story"
	"perdure/internal/unit"
	"perdure/internal/wire"
)

// Bounds of a round of kills.
const (
	// momentWait is how long a moment is waited for: a switch that was refused, or that went another way, never comes to it.
	momentWait = 12 * time.Second
	// personWait is how long a person goes on asking for an emergency.
	personWait = 15 * time.Second
	// wholeWait bounds how long the estate may take until everything runs, streams and is in sync again.
	wholeWait = 120 * time.Second
	// lookFor is how often files are looked at for the moments that no record tells.
	lookFor = 2 * time.Millisecond
)

// kills carries out rounds: a switch begins, one process is killed at a chosen moment, and the estate becomes whole again.
func (l *Lab) kills(ctx context.Context, a story.Kills) error {
	r := l.running
	var units []estate.UnitID
	for _, name := range r.plan.unitNames() {
		units = append(units, estate.UnitID(name))
	}
	choices := kills.New(l.o.Seed, units)
	began := time.Now()
	for n := 1; n <= a.Times; n++ {
		if a.For > 0 && time.Since(began) >= a.For {
			break
		}
		if err := l.killRound(ctx, n, choices.Next()); err != nil {
			return err
		}
	}
	return nil
}

// cast is who plays the roles of a round.
type cast struct {
	record  unit.Record
	members map[kills.Role]unit.Member
	away    bool // the target is not where the unit is at home
}

// cast finds the owner, the synchronous copy that is to take over, and the asynchronous one; where there is none the target plays it too.
func (r *running) cast(ctx context.Context, u estate.UnitID) (cast, error) {
	rec, err := r.groupOf(ctx, u)
	if err != nil {
		return cast{}, err
	}
	c := cast{record: rec, members: map[kills.Role]unit.Member{}}
	owner, ok := rec.Member(rec.Owner.Member)
	if !ok {
		return c, errs.New(errs.Conflict, "%s has no owner at the moment", u)
	}
	c.members[kills.Owner] = owner
	for _, m := range rec.Members {
		switch {
		case m.ID == owner.ID:
		case m.Role == unit.AsyncRole:
			c.members[kills.Remote] = m
		case rec.InSyncLife(estate.Life{Member: m.ID, N: m.Life}):
			c.members[kills.Target] = m
		}
	}
	target, ok := c.members[kills.Target]
	if !ok {
		return c, errs.New(errs.Conflict, "%s has no copy that could take over: %s", u, stands(rec))
	}
	if _, ok := c.members[kills.Remote]; !ok {
		c.members[kills.Remote] = target
	}
	for _, s := range r.layout.Set.Systems {
		for _, g := range s.Groups {
			c.away = c.away || g.Name == rec.Group && g.Owner != target.ID
		}
	}
	return c, nil
}

// killRound carries out one round as a step of its own.
func (l *Lab) killRound(ctx context.Context, n int, round kills.Round) error {
	r := l.running
	c, err := r.cast(ctx, round.Unit)
	if err != nil {
		return err
	}
	step := story.Step{Name: fmt.Sprintf("kill %d: %s", n, round), Mode: history.Failover}
	if round.Kind == kills.Planned {
		step.Mode = history.SwitchBack
		if c.away {
			step.Mode = history.Takeover
		}
	}
	began := time.Now()
	if err := l.Begin(ctx, step); err != nil {
		return err
	}
	hit, err := l.strikeIn(ctx, round, c)
	if err == nil {
		l.out.Note("the estate becomes whole again")
		err = r.awaitWhole(ctx)
	}
	// The end is marked after a failure too, so that the checker can say what the step was like.
	if ended := l.End(context.WithoutCancel(ctx), step); err == nil {
		err = ended
	}
	l.out.Say("%s: %s; whole again after %s", step.Name, hit, time.Since(began).Round(100*time.Millisecond))
	if err != nil && ctx.Err() == nil {
		return errs.New(errs.KindOf(err), "%s: %w", step.Name, err)
	}
	return err
}

// strikeIn begins the switch, kills at the chosen moment, and says what was hit and what became of the request.
func (l *Lab) strikeIn(ctx context.Context, round kills.Round, c cast) (string, error) {
	r := l.running
	watching, stop := context.WithCancel(ctx)
	defer stop()
	seen := r.moments(watching, c)
	answer := make(chan error, 1)
	began := time.Now()
	go func() { answer <- r.beginSwitch(ctx, round.Kind, c) }()

	told := ""
	if round.Moment != kills.AnyTime {
		if at, ok := seen.wait(ctx, round.Moment, momentWait); ok {
			told = fmt.Sprintf("%s seen after %d ms, ", round.Moment, at.Sub(began).Milliseconds())
			began = at
		} else {
			told = fmt.Sprintf("%s never came, ", round.Moment)
			began = time.Now()
		}
	}
	if err := story.Pass(ctx, time.Until(began.Add(round.After))); err != nil {
		return "", err
	}
	hit, err := r.killOne(ctx, l.out, round, c)
	told += "killed " + hit
	asked := <-answer
	if round.Kind == kills.Emergency {
		if rerr := r.resume(ctx, story.Start{Processes: []string{"agent-" + string(c.members[kills.Owner].ID)}}); err == nil {
			err = rerr
		}
	}
	if asked != nil {
		told += fmt.Sprintf(", the request was answered: %v", asked)
		if k := errs.KindOf(asked); err == nil && (k == errs.Internal || k == "") {
			err = errs.New(errs.Internal, "the request for the switch had no clear answer: %w", asked)
		}
	}
	return told, err
}

// beginSwitch makes ownership pass on. Its error is what a person was answered.
func (r *running) beginSwitch(ctx context.Context, kind kills.Kind, c cast) error {
	owner, target := c.members[kills.Owner], c.members[kills.Target]
	switch kind {
	case kills.Failover:
		return r.fault(ctx, nil, story.Fault{Kind: story.Crash, Databases: []string{string(owner.ID)}})
	case kills.Emergency:
		if err := r.fault(ctx, nil, story.Fault{Kind: story.Kill, Processes: []string{"agent-" + string(owner.ID)}, Databases: []string{string(owner.ID)}}); err != nil {
			return err
		}
		return r.decideByPerson(ctx, c)
	case kills.Planned:
	}
	mode := unit.SwitchBack
	if c.away {
		mode = unit.Takeover
	}
	api, err := r.as("", "")
	if err != nil {
		return err
	}
	_, err = api.Switch(ctx, c.record.Units[0], wire.SwitchRequest{To: target.Site, Mode: mode, Reason: "kills", ID: r.requestID(c)})
	return err
}

func (r *running) requestID(c cast) string {
	return fmt.Sprintf("kills-%s-%d", c.record.Group, r.hist.Since().Milliseconds())
}

// decideByPerson asks for the emergency until it is granted, or somebody has decided already.
func (r *running) decideByPerson(ctx context.Context, c cast) error {
	api, err := r.as("ann", "")
	if err != nil {
		return err
	}
	bound, cancel := context.WithTimeout(ctx, personWait)
	defer cancel()
	request := wire.SwitchRequest{To: c.members[kills.Target].Site, Mode: unit.Emergency, Reason: "kills", ID: r.requestID(c)}
	for {
		answer, err := api.Switch(bound, c.record.Units[0], request)
		if err == nil && (answer.Switch == nil || answer.Switch.Phase != unit.Accepting) {
			return nil
		}
		if err == nil {
			// At that moment it would lose something: nobody accepts that here.
			_, err = api.Abort(bound, c.record.Units[0], wire.AbortRequest{Reason: "the loss is not accepted"})
			request.ID = r.requestID(c)
		}
		if rec, gerr := r.groupOf(bound, c.record.Units[0]); gerr == nil && c.record.Ownership.Less(rec.Ownership) {
			return nil // decided already, by whomever
		}
		if perr := story.Pass(bound, switchPause); perr != nil {
			return err
		}
	}
}

// atSite lists the processes of a kind at a site.
func (r *running) atSite(kind site.Kind, s estate.SiteID) []string {
	var names []string
	for _, p := range r.layout.Of(kind) {
		if p.Site == s {
			names = append(names, p.Name)
		}
	}
	return names
}

// parts of servers as the story's faults call them.
var killParts = map[kills.Process]story.Part{
	kills.Agent: story.Agent, kills.Postmaster: story.Postmaster, kills.Checkpointer: story.Checkpointer, kills.WALWriter: story.WALWriter,
	kills.WALReceiver: story.WALReceiver, kills.WALSender: story.WALSender, kills.Startup: story.Startup, kills.Backend: story.Backend,
}

// killOne kills the chosen process. Where there is none of its kind at that moment (a copy has no checkpointer's sessions, a dead server
// has nothing), the nearest that is there: another process of that server, then one of the other roles.
func (r *running) killOne(ctx context.Context, out *story.Progress, round kills.Round, c cast) (string, error) {
	m := c.members[round.Role]
	kinds := map[kills.Process]site.Kind{kills.Node: site.Node, kills.Gateway: site.Gateway, kills.Application: site.App}
	if kind, ok := kinds[round.Process]; ok {
		names := r.atSite(kind, m.Site)
		if len(names) == 0 {
			return "", errs.New(errs.NotFound, "site %s has no %s", m.Site, round.Process)
		}
		name := names[int(round.After)%len(names)]
		return name, r.fault(ctx, out, story.Fault{Kind: story.Crash, Processes: []string{name}})
	}
	var first error
	for _, role := range slices.Compact([]kills.Role{round.Role, kills.Target, kills.Owner, kills.Remote}) {
		member := string(c.members[role].ID)
		for _, process := range slices.Compact([]kills.Process{round.Process, kills.Postmaster}) {
			if process == kills.Postmaster && round.Process == kills.Agent {
				continue
			}
			err := r.fault(ctx, out, story.Fault{Kind: story.Crash, Databases: []string{member}, Part: killParts[process]})
			if err == nil {
				return fmt.Sprintf("%s of %s", process, member), nil
			}
			if errs.KindOf(err) != errs.NotFound {
				return "", err
			}
			if first == nil {
				first = err
			}
		}
	}
	return "", first
}

// seen are the moments of a switch with the time they were seen at.
type seen struct {
	at map[kills.Moment]chan time.Time
}

// wait waits until the moment is seen; false where it is not within the bound.
func (s seen) wait(ctx context.Context, m kills.Moment, bound time.Duration) (time.Time, bool) {
	timer := time.NewTimer(bound)
	defer timer.Stop()
	select {
	case at := <-s.at[m]:
		return at, true
	case <-timer.C:
	case <-ctx.Done():
	}
	return time.Time{}, false
}

// see notes a moment once.
func (s seen) see(m kills.Moment) {
	select {
	case s.at[m] <- time.Now():
	default:
	}
}

// moments watches a switch until ctx ends: the record tells most, the target's directory the rest.
func (r *running) moments(ctx context.Context, c cast) seen {
	s := seen{at: map[kills.Moment]chan time.Time{}}
	for _, m := range kills.Moments(kills.Planned) {
		s.at[m] = make(chan time.Time, 1)
	}
	key := "groups/" + string(c.record.Group)
	ready := make(chan struct{})
	r.timers.Go(func() {
		api, err := r.as("", "")
		if err != nil {
			close(ready)
			return
		}
		first := true
		_ = api.Watch(ctx, client.WatchOptions{Prefixes: []string{"groups/"}}, func(u wire.Update) error {
			for _, change := range u.Changes {
				var rec unit.Record
				if change.Key == key && json.Unmarshal(change.Value, &rec) == nil {
					s.record(c.record, rec)
				}
			}
			if first {
				first = false
				close(ready)
			}
			return nil
		})
		if first {
			close(ready)
		}
	})
	r.timers.Go(func() { r.lookAt(ctx, c, s) })
	// The switch begins when its first moment cannot be missed.
	select {
	case <-ready:
	case <-time.After(momentWait):
	case <-ctx.Done():
	}
	return s
}

// record sees what the record says that was not so at the beginning.
func (s seen) record(before, now unit.Record) {
	if sw := now.Switch; sw != nil && (before.Switch == nil || before.Switch.ID != sw.ID) {
		switch sw.Phase {
		case unit.Closing:
			s.see(kills.Hold)
		case unit.Drained:
			s.see(kills.Drained)
		case unit.Done:
			s.see(kills.Grown)
		case unit.Accepting, unit.Promotion, unit.Growing, unit.Failed, unit.MarkShut, unit.MarkSevered, unit.MarkPromoted:
		}
	}
	if before.Ownership.Less(now.Ownership) {
		s.see(kills.Decided)
		if now.State == unit.Open {
			s.see(kills.Opened)
		}
	}
}

// lookAt looks at the target's files: its agent's own, in which the severing is journalled, and the signal file that a promotion removes.
func (r *running) lookAt(ctx context.Context, c cast, s seen) {
	target := c.members[kills.Target].ID
	data, _ := r.layout.DataDir(target)
	own := filepath.Join(filepath.Dir(data), "self.json")
	tick := time.NewTicker(lookFor)
	defer tick.Stop()
	wasCopy := false
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		var self unit.Self
		if text, err := os.ReadFile(own); err == nil && json.Unmarshal(text, &self) == nil && self.Severed != nil && c.record.Ownership.Less(self.Severed.Ownership) {
			s.see(kills.Severed)
		}
		_, err := os.Stat(filepath.Join(data, "standby.signal"))
		if wasCopy && errors.Is(err, os.ErrNotExist) {
			s.see(kills.Promoted)
		}
		wasCopy = wasCopy || err == nil
	}
}

// awaitWhole waits until everything runs and does what it is for.
func (r *running) awaitWhole(ctx context.Context) error {
	bound, cancel := context.WithTimeout(ctx, wholeWait)
	defer cancel()
	stands := ""
	err := until(bound, "the estate does not become whole", func() error {
		ok, why := r.whole(bound)
		if ok {
			return nil
		}
		// What is said when the bound cuts a look short tells nothing.
		if bound.Err() == nil {
			stands = why
		}
		return errs.New(errs.Unavailable, "%s", stands)
	})
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

// whole reports whether every process runs, every node knows a leader, every unit is open and in sync by the record, every server answers,
// every copy streams, and writes are acknowledged.
func (r *running) whole(ctx context.Context) (bool, string) {
	if ok, why := r.gapClosed(""); !ok {
		return false, why
	}
	for _, p := range r.sup.Status() {
		if p.State != proc.Running {
			return false, p.Name + " is " + string(p.State)
		}
	}
	groups, err := r.groups(ctx)
	if err != nil {
		return false, err.Error()
	}
	if ok, why := r.ready(ctx, groups); !ok {
		return false, why
	}
	for s, c := range r.nodes {
		short, cancel := context.WithTimeout(ctx, time.Second)
		e, err := c.Estate(short)
		cancel()
		if err != nil || !e.Store.Quorum || e.Store.Leader == "" {
			return false, fmt.Sprintf("the node at %s is not back: %v", s, err)
		}
	}
	for _, g := range groups {
		for _, m := range g.Record.Members {
			if err := r.streams(ctx, m.ID, m.ID == g.Record.Owner.Member); err != nil {
				return false, err.Error()
			}
		}
	}
	return true, ""
}

// streams asks a server whether it is what the record says: an owner that is none's copy, or a copy that streams.
func (r *running) streams(ctx context.Context, m estate.MemberID, owns bool) error {
	dir, ok := r.layout.DataDir(m)
	if !ok {
		return errs.New(errs.NotFound, "no member %q", m)
	}
	text, err := connString(dir)
	if err != nil {
		return err
	}
	short, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	conn, err := pgx.Connect(short, text)
	if err != nil {
		return errs.New(errs.Unavailable, "the server of %s does not answer: %w", m, err)
	}
	defer conn.Close(context.WithoutCancel(ctx))
	var recovering, streaming bool
	if err := conn.QueryRow(short, "select pg_is_in_recovery(), exists (select 1 from pg_stat_wal_receiver where status = 'streaming')").Scan(&recovering, &streaming); err != nil {
		return errs.New(errs.Unavailable, "the server of %s does not answer: %w", m, err)
	}
	if owns == recovering || !owns && !streaming {
		return errs.New(errs.Unavailable, "%s is not back: in recovery %t, streaming %t", m, recovering, streaming)
	}
	return nil
}
