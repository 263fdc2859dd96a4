package unit

import (
	"slices"
	"time"

	"perdure/internal/estate"
)

// Drift is the margin for two monotonic clocks that run apart: one part in DriftPart.
const DriftPart = 50

// Promise is what a member that may replace the owner keeps in memory: "I do not replace the owner of this ownership before …".
// It is counted on the member's monotonic clock from the answering (I8). An agent that was restarted has to assume that it promised.
type Promise struct {
	Ownership estate.Ownership
	// Until is a reading of the member's monotonic clock.
	Until time.Duration
	// Consented is the newest ownership this member agreed to end; it grants nothing for it or below any more.
	Consented estate.Ownership
	// ConsentUntil bounds the consent: when nobody decided by then, promises are granted again.
	ConsentUntil time.Duration
}

// Restarted is the promise of an agent that does not know what it promised: for as long as the longest promise.
func Restarted(now time.Duration, timing Timing) Promise {
	return Promise{Until: now + withDrift(timing.Promise)}
}

func withDrift(d time.Duration) time.Duration { return d + d/DriftPart }

// Grant answers an owner that asks for a promise of the duration; the owner counts it from its sending.
func (p *Promise) Grant(o estate.Ownership, duration, now time.Duration) bool {
	if o.Less(p.Ownership) {
		return false
	}
	if now < p.ConsentUntil && !p.Consented.Less(o) {
		return false
	}
	p.Ownership = o
	p.Until = max(p.Until, now+withDrift(duration))
	return true
}

// Release ends the promise at once: the owner's agent saw its database dead.
func (p *Promise) Release(o estate.Ownership, now time.Duration) {
	if p.Ownership == o || p.Ownership.Less(o) {
		p.Ownership, p.Until = o, now
	}
}

// Consent asks whether the owner of the ownership may be replaced by this member now. Where it may, no promise is granted
// to it for the hold time; where it may not, wait says how long the promise still runs.
func (p *Promise) Consent(o estate.Ownership, now, hold time.Duration) (wait time.Duration, ok bool) {
	if o.Less(p.Ownership) {
		return 0, false
	}
	if now < p.Until {
		return p.Until - now, false
	}
	p.Consented, p.ConsentUntil = o, now+hold
	return 0, true
}

// Over reports whether no promise runs.
func (p *Promise) Over(now time.Duration) bool { return now >= p.Until }

// Learn takes over what a record says of the owner: one that is reported dead, or closed and drained, relies on no promise any more.
func (p *Promise) Learn(rec Record, now time.Duration) {
	if rec.released() {
		p.Release(rec.Ownership, now)
	}
}

// MayPromise reports whether a member that knows the record may promise anything to the owner of the ownership: it has met
// nothing newer, and the owner was not reported dead. rec is the zero Record where none is known yet.
func MayPromise(rec Record, self Self, o estate.Ownership) bool {
	return !o.Less(self.Seen) && (rec.Down == nil || rec.Ownership != o)
}

// Renews reports whether the agent may ask for promises and let plain reads pass: its database is the open owner, is not
// reported dead, and no planned switch closes it (I8).
func Renews(rec Record, self Self) bool {
	return rec.State == Open && rec.Owner == self.Now() && rec.Down == nil && !rec.Switch.Undecided() && !rec.Ownership.Less(self.Seen)
}

// LeaseSet is whose promises an owner needs: everybody in the record's set, and everybody in force, because a growth whose answer
// was lost may have landed.
func LeaseSet(rec Record, inForce []estate.Life) []estate.Life {
	set := slices.Clone(rec.InSync)
	for _, l := range inForce {
		if _, ok := rec.Member(l.Member); ok && !slices.Contains(set, l) {
			set = append(set, l)
		}
	}
	return set
}

// Lease is the owner's side: what each member promised for one ownership, counted from the sending.
type Lease struct {
	ownership estate.Ownership
	granted   map[estate.Life]time.Duration
}

// Granted notes a promise of the duration that was asked for at sent. A promise for another ownership than the newest counts for
// nothing: it may have been released since.
func (l *Lease) Granted(o estate.Ownership, by estate.Life, sent, duration time.Duration) {
	if o.Less(l.ownership) {
		return
	}
	if l.ownership != o || l.granted == nil {
		l.ownership, l.granted = o, map[estate.Life]time.Duration{}
	}
	l.granted[by] = max(l.granted[by], sent+duration)
}

// Until is when the right to answer plain reads under the ownership ends: the earliest promise of the whole set, in the past where
// one is missing. With an empty set nobody may replace the owner without a person, so it holds for one duration from now (I8).
func (l *Lease) Until(o estate.Ownership, set []estate.Life, now, duration time.Duration) time.Duration {
	until := now + duration
	for _, m := range set {
		if l.ownership != o {
			return 0
		}
		until = min(until, l.granted[m])
	}
	return until
}
