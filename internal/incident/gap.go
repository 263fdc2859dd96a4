package incident

import (
	"cmp"
	"slices"
	"time"

	"perdure/internal/estate"
	"perdure/internal/unit"
)

// Gap is the time in which a group served nobody between two ownerships: one entry of the history of ownership. It is written once, with the
// opening that ended it.
type Gap struct {
	Group  estate.GroupID  `json:"group"`
	System estate.SystemID `json:"system"`
	Units  []estate.UnitID `json:"units"`
	// Mode is that of the switch, empty for an owner that opened again in place. First: nobody had opened before.
	Mode  unit.Mode `json:"mode,omitempty"`
	First bool      `json:"first,omitempty"`
	// Left is the ownership that served before, zero where none did.
	Left estate.Ownership `json:"left,omitzero"`
	Took estate.Ownership `json:"took"`
	// Began is since when nobody was served, zero where that is not known (N5); Ended when the next owner opened.
	Began time.Time `json:"began,omitzero"`
	Ended time.Time `json:"ended"`
}

// Planned reports whether people disrupted service on purpose.
func (g *Gap) Planned() bool { return g.Mode == unit.Takeover || g.Mode == unit.SwitchBack }

func instant(millis int64) time.Time {
	if millis == 0 {
		return time.Time{}
	}
	return time.UnixMilli(millis).UTC()
}

// Opened gives the gap that a change of a record ended; ok is false where it ended none.
func Opened(before, after unit.Record) (g Gap, ok bool) {
	if after.State != unit.Open || before.State == unit.Open && before.Ownership == after.Ownership {
		return g, false
	}
	g = Gap{Group: after.Group, System: after.System, Units: after.Units, Took: after.Ownership, Ended: instant(after.Opened)}
	past, served := served(&after)
	if !served {
		g.First = true
		return g, true
	}
	g.Left = past.Ownership
	var began int64
	switch s := after.Switch; {
	case s != nil && before.State == unit.Promoting && s.Phase != unit.Failed: // as it was decided
		g.Mode = s.Mode
		began = cmp.Or(s.Disrupted, s.At[unit.MarkShut], s.At[unit.Closing])
	case before.Down != nil && *before.Down == before.Owner:
		began = before.DownAt
	case before.Switch != nil && before.Switch.Ownership == before.Ownership: // undone after its gates were closed
		began = cmp.Or(before.Switch.At[unit.MarkShut], before.Switch.At[unit.Closing])
	}
	if began > 0 && began <= after.Opened {
		g.Began = instant(began)
	}
	return g, true
}

// served is the newest ownership before the present one that had opened.
func served(rec *unit.Record) (unit.Past, bool) {
	for _, p := range slices.Backward(rec.Past) {
		if p.Opened != 0 {
			return p, true
		}
	}
	return unit.Past{}, false
}

// Decided gives the incident that a change of a record opens: a failover or an emergency was decided. It is made once for each ownership that
// ended so, whoever decides: a decision that passes on opens no other one.
func Decided(before, after unit.Record, by string, at time.Time) (Incident, bool) {
	s := after.Switch
	if after.State != unit.Promoting || before.State == unit.Promoting || s == nil || s.Mode != unit.Failover && s.Mode != unit.Emergency {
		return Incident{}, false
	}
	left := before.Ownership
	if past, ok := served(&before); ok && before.State != unit.Open {
		left = past.Ownership // what nobody opened was no service to be disrupted
	}
	i := Incident{
		ID: IDOf(after.Group, left), Cause: ByFailover, Phase: Open, OpenedAt: at, OpenedBy: by, Title: s.Reason,
		Facts: Facts{Systems: []estate.SystemID{after.System}, Units: after.Units, DisruptedAt: instant(s.Disrupted), DetectedAt: at},
		Group: after.Group, Left: left, Seq: 1,
	}
	if s.Mode == unit.Emergency {
		i.Cause = ByEmergency
	}
	// A node's clock may be behind the agent's who saw the owner die.
	if i.DisruptedAt.After(at) {
		i.DisruptedAt = at
	}
	return i, true
}

// Detected gives the incident of a group that serves nobody and of which nothing can be decided without people. It is that of the ownership that
// is in force: where a failover or an emergency is decided later, it is the same one.
func Detected(rec unit.Record, why, by string, since, at time.Time) Incident {
	if since.After(at) {
		since = at
	}
	return Incident{
		ID: IDOf(rec.Group, rec.Ownership), Cause: ByDetection, Phase: Open, OpenedAt: at, OpenedBy: by, Title: why,
		Facts: Facts{Systems: []estate.SystemID{rec.System}, Units: rec.Units, DisruptedAt: since, DetectedAt: at},
		Group: rec.Group, Left: rec.Ownership, Seq: 1,
	}
}

// Measure gives what the history of ownership says of an incident. Records are the groups as they are now.
func (i *Incident) Measure(gaps []Gap, records []unit.Record) Seen {
	var s Seen
	for _, m := range i.switches() {
		at := slices.IndexFunc(gaps, func(g Gap) bool { return g.Group == m.Group && g.Left == m.Left })
		if at < 0 {
			s.Running = s.Running || unopened(records, m)
			continue
		}
		s.add(gaps[at].Began, gaps[at].Ended)
	}
	if s.Running {
		s.Until = time.Time{}
	}
	return s
}

// add takes in a time in which service was disrupted.
func (s *Seen) add(from, until time.Time) {
	if !from.IsZero() && (s.From.IsZero() || from.Before(s.From)) {
		s.From = from
	}
	if until.After(s.Until) {
		s.Until = until
	}
}

// unopened reports whether the group has not opened since it left an ownership, for which no gap is written. One that is no more never will; one
// that never left it says nothing.
func unopened(records []unit.Record, m Switch) bool {
	return slices.ContainsFunc(records, func(r unit.Record) bool { return r.Group == m.Group && r.State != unit.Open })
}
