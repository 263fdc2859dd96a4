package unit

import (
	"slices"
	"time"

	"perdure/internal/estate"
)

// Do is what an agent does.
type Do string

// The closed list of actions.
const (
	Wait         Do = "wait"
	Create       Do = "create"       // make a new primary directory
	Start        Do = "start"        // raise the life, start the server as the directory says
	Stop         Do = "stop"         // stop the server
	CloseGates   Do = "close-gates"  // mark the guard rows closed; end the lease
	Drain        Do = "drain"        // wait for the transactions in flight, then post Close with the fence
	OpenGates    Do = "open-gates"   // keep Self.Owned and Self.Opened, then insert the guard rows at Action.Ownership
	Sever        Do = "sever"        // cut the source durably, keep the position in Self.Severed
	Replay       Do = "replay"       // wait until replayed up to Action.LSN
	Promote      Do = "promote"      // keep Self.Owned, then promote
	Follow       Do = "follow"       // follow Action.Upstream, starting the server in a new life if it does not run
	Compare      Do = "compare"      // list the divergence from Action.Upstream, keep Self.Compared
	Rewind       Do = "rewind"       // rewind onto Action.Upstream, forget Self.Owned
	Admit        Do = "admit"        // make slots and access for the followers
	Restore      Do = "restore"      // make the empty directory a severed copy from the archive; nobody is followed by that
	Reinitialise Do = "reinitialise" // replace the directory by a copy of Action.Upstream, forget Self.Owned
	ShrinkTo     Do = "shrink-to"    // put the names of Action.Lives in force: never more than the record has
	GrowBy       Do = "grow-by"      // put Action.Lives in force, prove the wait, then post Grow for Action.Candidate with Self.Session
	Post         Do = "post"         // post Action.Transition
	Alarm        Do = "alarm"        // nothing can be done without a person
)

// Action is the next thing an agent does; Why is for people.
type Action struct {
	Do         Do
	Why        string
	Ownership  estate.Ownership
	Upstream   estate.MemberID
	LSN        estate.LSN
	Lives      []estate.Life
	Candidate  estate.Life
	Immediate  bool
	Transition Transition
}

// Next says what the agent of a member does next, from the record as read under the directory's lock.
// now is the agent's wall clock in Unix milliseconds, used for damping only.
func Next(rec Record, self Self, v View, timing Timing, now int64) Action {
	if rec.Ownership.Less(self.Seen) || rec.Ownership.Conflicts(self.Seen) {
		// The record may be old, or come from a store that was recovered elsewhere; what is open below what was met closes.
		if rec.Ownership.Conflicts(self.Seen) && anyOpen(v.Gates) || openBelow(v.Gates, self.Seen) {
			return Action{Do: CloseGates, Why: "this directory has met " + self.Seen.String() + ", the gates are older or of another recovery [I10]"}
		}
		return Action{Do: Alarm, Why: "the record is at " + rec.Ownership.String() + ", this directory has met " + self.Seen.String() + ": nothing lower is obeyed [I1]"}
	}
	n := agentView{rec: rec, self: self, view: v, timing: timing, now: now}
	if rec.Owner.Member != self.Member {
		return n.copy()
	}
	switch rec.State {
	case Promoting:
		return n.decided()
	case Open:
		return n.owner()
	default:
		return n.closedOwner()
	}
}

type agentView struct {
	rec    Record
	self   Self
	view   View
	timing Timing
	now    int64
}

func (n agentView) post(t Transition) Action {
	t.By, t.First, t.Session = n.self.Now(), n.self.FirstLife, n.self.Session
	t.Ownership, t.Now = n.rec.Ownership, n.now
	return Action{Do: Post, Why: string(t.Kind), Transition: t}
}

func anyOpen(gates []Gate) bool {
	return slices.ContainsFunc(gates, func(g Gate) bool { return g.Open })
}

func openBelow(gates []Gate, o estate.Ownership) bool {
	return slices.ContainsFunc(gates, func(g Gate) bool { return g.Open && g.Ownership.Less(o) })
}

func upTo(gates []Gate, units []estate.UnitID, o estate.Ownership) bool {
	for _, u := range units {
		if !slices.Contains(gates, Gate{Unit: u, Ownership: o, Open: true}) {
			return false
		}
	}
	return true
}

func closedAt(gates []Gate, o estate.Ownership) bool {
	return slices.ContainsFunc(gates, func(g Gate) bool { return !g.Open && g.Ownership == o })
}

// closedOwner: the group was made just now, or its store was recovered.
func (n agentView) closedOwner() Action {
	if anyOpen(n.view.Gates) {
		return Action{Do: CloseGates, Why: "the group is closed"}
	}
	if n.rec.Lost != nil {
		return n.recovered()
	}
	switch {
	case n.view.Directory == EmptyDir:
		return Action{Do: Create, Why: "a new group begins here"}
	case !n.view.Running:
		return Action{Do: Start, Why: "the owner's database is not running"}
	case !n.view.Answering:
		return Action{Do: Wait, Why: "the database does not answer yet"}
	case n.view.InRecovery:
		return Action{Do: Alarm, Why: "the record names a standby as first owner: propose it as an emergency"}
	}
	return n.post(Transition{Kind: Reopen, Reason: "first opening"})
}

// recovered: people decide who goes on. Until then every directory runs, closed, and says what life it is in, because the
// recovered record may be older than that (I10).
func (n agentView) recovered() Action {
	if a, ok := n.accepted(); ok && n.view.Running && n.view.Answering {
		return a
	}
	m, _ := n.rec.Member(n.self.Member)
	switch {
	case n.view.Directory == EmptyDir && m.Cold():
		return n.cold()
	case n.view.Directory == EmptyDir:
		return Action{Do: Wait, Why: "the directory is empty; people decide who goes on [I10]"}
	case !n.view.Running:
		return Action{Do: Start, Why: "wait, closed, for a person's decision"}
	case m.Life != n.self.Life && n.view.Answering:
		return n.post(Transition{Kind: Enrol})
	}
	return Action{Do: Wait, Why: "the store was recovered: people decide who goes on [I10]"}
}

// accepted: people accepted a loss and this member is the one they chose.
func (n agentView) accepted() (Action, bool) {
	s := n.rec.Switch
	if s.Active() && s.Phase == Accepting && s.accepted() && s.To == n.self.Now() {
		return n.post(Transition{Kind: Decide, Member: s.To, SwitchID: s.ID}), true
	}
	return Action{}, false
}

// decided: sever, promote, report. A successor that finds it half done goes forward (I15).
func (n agentView) decided() Action {
	if n.rec.Owner.N < n.self.FirstLife {
		return Action{Do: Alarm, Why: "the decision meant life " + n.rec.Owner.String() + ", which lay in another directory than the present one"}
	}
	switch {
	case n.view.Directory == EmptyDir:
		return Action{Do: Alarm, Why: "the decided member has no directory"}
	case !n.view.Running:
		return Action{Do: Start, Why: "the decided member is not running"}
	case !n.view.Answering:
		return Action{Do: Wait, Why: "the database does not answer"}
	case anyOpen(n.view.Gates):
		return Action{Do: CloseGates, Why: "decided, not yet open"}
	case !n.view.InRecovery && !n.rec.Released && !n.view.Promised:
		return Action{Do: Wait, Why: "the former owner may answer plain reads until the promise given to it is over [I8]"}
	case !n.view.InRecovery:
		lsn := n.view.Flushed
		if s := n.self.Severed; s != nil && s.Ownership == n.rec.Ownership {
			lsn = s.LSN
		}
		return n.post(Transition{Kind: Opened, LSN: lsn})
	case n.self.Severed == nil || n.self.Severed.Ownership != n.rec.Ownership:
		return Action{Do: Sever, Why: "sever, then promote [I4]", Ownership: n.rec.Ownership}
	}
	return Action{Do: Promote, Why: "severed", Ownership: n.rec.Ownership}
}

func (n agentView) owner() Action {
	mine := n.self.Now() == n.rec.Owner
	if !n.view.Running {
		return n.ownerDown(mine)
	}
	if !n.view.Answering {
		return Action{Do: Wait, Why: "the database does not answer"}
	}
	if n.view.InRecovery {
		return Action{Do: Alarm, Why: "the record says owner, the directory is a standby"}
	}
	if a, ok := n.accepted(); ok {
		return a
	}
	if !mine {
		return n.post(Transition{Kind: Reopen, Reason: "the owner's database was restarted"})
	}
	if n.rec.Down != nil && *n.rec.Down == n.rec.Owner {
		// It was reported dead, so whoever promised is free: nobody may rely on this ownership any more.
		if anyOpen(n.view.Gates) {
			return Action{Do: CloseGates, Why: "the record says that this database is dead [I8]"}
		}
		return n.post(Transition{Kind: Reopen, Reason: "the database was reported dead and is not"})
	}
	if n.view.FullFor >= n.timing.Full && n.rec.Down == nil && n.hasHeirWithRoom() {
		return n.post(Transition{Kind: OwnerDown, Reason: "its disk is full, and an in-sync copy has room"})
	}
	if s := n.rec.Switch; s.Undecided() && s.Ownership == n.rec.Ownership {
		switch {
		case n.late(s.To):
			return n.attached(n.takeOut(s.To)) // which undoes the switch: it would only wait for its budget to be over
		case s.Phase == Drained:
			return Action{Do: Wait, Why: "closed and drained, the target takes over"}
		case anyOpen(n.view.Gates):
			return Action{Do: CloseGates, Why: "planned switch " + s.ID}
		default:
			return Action{Do: Drain, Why: "planned switch " + s.ID, Ownership: n.rec.Ownership}
		}
	}
	if closedAt(n.view.Gates, n.rec.Ownership) {
		return n.post(Transition{Kind: Reopen, Reason: "closed without a decision: reopen at a new epoch"})
	}
	if a, ok := n.keepSet(); ok {
		return n.attached(a)
	}
	if n.rec.MayOpen() && !upTo(n.view.Gates, n.rec.Units, n.rec.Ownership) {
		if n.self.Opened == n.rec.Ownership && !anyOpen(n.view.Gates) {
			return n.post(Transition{Kind: Reopen, Reason: "the gates were lost in a crash: reopen at a new epoch"})
		}
		return Action{Do: OpenGates, Why: "owner of " + n.rec.Ownership.String(), Ownership: n.rec.Ownership}
	}
	if n.view.Unserved {
		return Action{Do: Admit, Why: "followers may stream from here"}
	}
	if a, ok := n.growSet(); ok {
		return n.attached(a)
	}
	return Action{Do: Wait, Why: "open"}
}

// attached lets nothing be done about the set before this session of the agent is attached to the record: a Grow posted before,
// whose answer never came, may have landed, or may yet (I2, I15).
func (n agentView) attached(a Action) Action {
	if n.self.Session != n.rec.Session {
		return n.post(Transition{Kind: Attach})
	}
	return a
}

func (n agentView) ownerDown(mine bool) Action {
	if mine && n.rec.Down == nil {
		return n.post(Transition{Kind: OwnerDown, Reason: "the database process is dead"})
	}
	// Counted from when those who may take over could know of it.
	if n.hasHeir() && n.view.DownSeenFor(n.rec) < n.timing.Restart {
		return Action{Do: Wait, Why: "the in-sync set may take over"}
	}
	return Action{Do: Start, Why: "nobody took over"}
}

// hasHeir reports whether somebody may take over without a person.
func (n agentView) hasHeir() bool {
	return n.rec.Policy.Failover == Auto && !n.rec.Damped(n.now) && slices.ContainsFunc(n.rec.InSync, func(l estate.Life) bool {
		m, _ := n.rec.Member(l.Member)
		_, ok := n.rec.newest(n.rec.InSync, l)
		return ok && m.Role == SyncRole
	})
}

// hasHeirWithRoom reports whether one of those who may take over without a person streams and has room on its disk.
func (n agentView) hasHeirWithRoom() bool {
	return n.hasHeir() && slices.ContainsFunc(n.rec.InSync, func(l estate.Life) bool {
		m, _ := n.rec.Member(l.Member)
		c, ok := n.view.copyOf(l)
		return ok && m.Role == SyncRole && c.Streaming && c.Usable && !c.Full
	})
}

// keepSet brings the names in force to the record's set and takes out copies that hold commits up.
func (n agentView) keepSet() (Action, bool) {
	want := n.rec.InSync
	for _, name := range n.view.SyncNames {
		if !slices.ContainsFunc(want, func(l estate.Life) bool { return l.String() == name }) {
			return Action{Do: ShrinkTo, Why: "in force is more than the record has", Lives: want}, true
		}
	}
	for _, l := range want {
		m, _ := n.rec.Member(l.Member)
		if !slices.Contains(n.view.SyncNames, l.String()) {
			if m.Role == PinnedRole || len(want)-1 < n.rec.Policy.MinInSync {
				return Action{Do: GrowBy, Why: "the set in force lost a member that policy keeps", Lives: want, Candidate: l}, true
			}
			return n.post(Transition{Kind: Shrink, Member: l, Reason: "it is not in force"}), true
		}
		if n.late(l) {
			return n.takeOut(l), true
		}
	}
	return Action{}, false
}

// late reports whether a member of the set is gone, or holds commits up, for so long that it has to leave, and policy lets it.
func (n agentView) late(l estate.Life) bool {
	m, _ := n.rec.Member(l.Member)
	if m.Role == PinnedRole || len(n.rec.InSync)-1 < n.rec.Policy.MinInSync {
		return false
	}
	c, ok := n.view.copyOf(l)
	gone := !ok || !c.Streaming || !c.Usable
	return gone && c.MissingFor >= n.timing.Missing || c.StalledFor >= n.timing.Stall && n.view.WaitingFor >= n.timing.Stall
}

// growSet proves one more copy into the set, after a pause that grows with every failure (I16).
func (n agentView) growSet() (Action, bool) {
	if n.view.SinceShrink < n.timing.GrowAfter<<min(n.view.GrowFailures, 5) {
		return Action{}, false
	}
	if s := n.rec.Switch; s.Active() && s.Phase != Growing && s.Phase != Accepting {
		return Action{}, false
	}
	for _, m := range n.rec.Members {
		l := estate.Life{Member: m.ID, N: m.Life}
		if m.ID == n.self.Member || m.Role == AsyncRole || n.rec.InSyncLife(l) {
			continue
		}
		c, ok := n.view.copyOf(l)
		if !ok || !c.Streaming || !c.Usable || c.Flushed+n.timing.GrowWithin < n.view.Flushed {
			continue
		}
		lives := slices.DeleteFunc(slices.Clone(n.rec.InSync), func(o estate.Life) bool { return o.Member == m.ID })
		return Action{Do: GrowBy, Why: "a copy caught up", Lives: append(lives, l), Candidate: l}, true
	}
	return Action{}, false
}

// copy: somebody else owns the group.
func (n agentView) copy() Action {
	if anyOpen(n.view.Gates) {
		return Action{Do: CloseGates, Why: n.rec.Owner.String() + " owns it"}
	}
	if n.rec.Lost != nil {
		return n.recovered()
	}
	if a, ok := n.accepted(); ok && n.view.Running && n.view.Answering {
		return a
	}
	if a, ok := n.takeOver(); ok {
		return a
	}
	switch n.view.Directory {
	case EmptyDir:
		if m, _ := n.rec.Member(n.self.Member); m.Cold() {
			return n.cold()
		}
		return n.makeCopy("the directory is empty")
	case PrimaryDir:
		return n.returning()
	default:
		return n.follower()
	}
}

// cold: an archive is kept in place of a copy. What is restored from it is a copy like any other: in no in-sync set, of a new life, and
// made the owner by nothing but a decision of people (I2, I4, I11).
func (n agentView) cold() Action {
	if n.view.Restore {
		return Action{Do: Restore, Why: "people want a copy from the archive"}
	}
	return Action{Do: Wait, Why: "cold: base backups and log are kept here"}
}

// takeOver: this member is the one that decides, because the owner drained for it or reported itself down.
func (n agentView) takeOver() (Action, bool) {
	me := n.self.Now()
	m, _ := n.rec.Member(me.Member)
	if n.rec.State != Open || m.Life != me.N || !n.rec.holds(n.rec.InSync, me) || !n.view.Running || !n.view.Answering {
		return Action{}, false
	}
	if s := n.rec.Switch; s.Active() && s.Phase == Drained && s.To == me {
		if n.view.Replayed < s.Fence {
			return Action{Do: Replay, Why: "replay up to the fence", LSN: s.Fence}, true
		}
		return n.post(Transition{Kind: Decide, Member: me, LSN: n.view.Replayed, SwitchID: s.ID}), true
	}
	if n.rec.Down == nil || *n.rec.Down != n.rec.Owner || n.rec.Policy.Failover != Auto || m.Role != SyncRole || m.Ahead || n.rec.Damped(n.now) {
		return Action{}, false
	}
	turn := time.Duration(slices.IndexFunc(n.rec.InSync, func(l estate.Life) bool { return l.Member == me.Member })) * n.timing.Turn
	if n.view.DownSeenFor(n.rec) < turn {
		return Action{Do: Wait, Why: "another in-sync member comes first"}, true
	}
	return n.post(Transition{Kind: Decide, Mode: Failover, Member: me, Reason: "the owner's database process is dead"}), true
}

// returning: the directory was an owner, or would start as one (I6).
func (n agentView) returning() Action {
	if n.rec.State != Open {
		if n.rec.Before.Member == n.self.Member && !n.view.Running && n.view.PhaseFor >= n.timing.Promotion {
			return Action{Do: Start, Why: "the decided member does not open: closed, ready to be taken back"}
		}
		if a, ok := n.startedAgain(); ok {
			return a
		}
		return Action{Do: Wait, Why: "closed; the new owner is not open yet"}
	}
	if n.view.Running && n.drained() && n.view.PhaseFor < n.timing.Farewell {
		return Action{Do: Wait, Why: "closed and drained; who is still connected gets an answer"}
	}
	if n.view.Running {
		return Action{Do: Stop, Why: n.rec.Owner.String() + " owns it now", Immediate: true}
	}
	if n.self.MustCopy {
		return n.makeCopy("the directory cannot be rewound")
	}
	if n.self.Compared != n.rec.Ownership {
		return Action{Do: Compare, Why: "list what the successor does not have", Ownership: n.rec.Ownership, Upstream: n.rec.Owner.Member}
	}
	return Action{Do: Rewind, Why: "become a copy of the successor", Ownership: n.rec.Ownership, Upstream: n.rec.Owner.Member}
}

// drained reports whether the present ownership was taken over from this very life by a planned switch.
func (n agentView) drained() bool {
	p := len(n.rec.Past) - 1
	return p >= 0 && n.rec.Past[p].Owner == n.self.Now() && n.rec.Past[p].Fence != 0
}

func (n agentView) makeCopy(why string) Action {
	up, ok := Upstream(n.rec, n.self.Member)
	if !ok {
		return Action{Do: Wait, Why: "nobody to copy from yet"}
	}
	return Action{Do: Reinitialise, Why: why, Ownership: n.rec.Ownership, Upstream: up}
}

func (n agentView) follower() Action {
	if n.self.MustCopy {
		return n.makeCopy("the directory cannot be rewound")
	}
	up, ok := Upstream(n.rec, n.self.Member)
	if !ok {
		if !n.view.Running {
			return Action{Do: Start, Why: "ready to take over"}
		}
		if a, ok := n.startedAgain(); ok {
			return a
		}
		return Action{Do: Wait, Why: "no upstream while the group is " + string(n.rec.State)}
	}
	m, _ := n.rec.Member(n.self.Member)
	if n.beyond() {
		return n.ahead(m)
	}
	if !n.view.Running || n.view.Upstream != up {
		return Action{Do: Follow, Why: "follow " + string(up), Upstream: up}
	}
	if !n.view.Answering {
		return Action{Do: Wait, Why: "the database does not answer"}
	}
	if n.view.StuckFor >= n.timing.Stuck && aheadOf(n.rec, m, n.view.Flushed) {
		return n.ahead(m)
	}
	if n.view.StuckFor >= n.timing.Stuck*lostFactor {
		return n.makeCopy("it cannot stream from " + string(up) + " although that answers")
	}
	if n.view.Streaming && (m.Life != n.self.Life || m.Following != n.rec.Ownership || m.Ahead) {
		return n.post(Transition{Kind: Enrol, Following: n.rec.Ownership})
	}
	if a, ok := n.startedAgain(); ok {
		return a
	}
	if n.view.Unserved {
		return Action{Do: Admit, Why: "asynchronous copies may stream from here [I12]"}
	}
	return Action{Do: Wait, Why: "following " + string(up)}
}

// startedAgain tells the record of a life that it does not know yet. Nobody is given the group in a life that the record does not know,
// so it is told while nobody has it open too.
func (n agentView) startedAgain() (Action, bool) {
	m, _ := n.rec.Member(n.self.Member)
	if !n.view.Running || !n.view.Answering || m.Life == n.self.Life {
		return Action{}, false
	}
	t := Transition{Kind: Enrol}
	if m.Life >= n.self.FirstLife {
		t.Following, t.Ahead = m.Following, m.Ahead // the same directory
	}
	return n.post(t), true
}

// ahead flags a copy that has more than the in-sync set had, so that nobody gives it anything, and rewinds it (I12).
func (n agentView) ahead(m Member) Action {
	if !m.Ahead {
		return n.post(Transition{Kind: Enrol, Following: m.Following, Ahead: true})
	}
	return Action{Do: Rewind, Why: "it has more than the in-sync set had [I12]", Ownership: n.rec.Ownership, Upstream: n.rec.Owner.Member}
}

// lostFactor times Timing.Stuck is how long a follower fails to stream before it is copied anew.
const lostFactor = 15

// Upstream says whom a member follows: synchronous and pinned members the owner, asynchronous ones a living member of the
// synchronous kind, so that they are never ahead of it (I12), or the owner where there is none. It is pure topology.
func Upstream(rec Record, id estate.MemberID) (estate.MemberID, bool) {
	if rec.State != Open {
		return "", false
	}
	me, ok := rec.Member(id)
	if !ok || id == rec.Owner.Member {
		return "", false
	}
	if me.Role != AsyncRole {
		return rec.Owner.Member, true
	}
	return source(rec, id), true
}
