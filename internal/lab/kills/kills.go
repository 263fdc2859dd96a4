// Package kills chooses what a run of kills does: which switch begins, which one process is killed in it, and at which moment.
//
// It is pure: the same seed makes the same choices. The lab carries them out on one running estate, where roles such as "the target" mean
// whoever has that role in that switch, and the checker judges.
package kills

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"perdure/internal/estate"
)

// Kind is how ownership is made to pass on.
type Kind string

// The kinds of switches.
const (
	// Planned goes to the unit's other production site: a takeover on the way there, a switch-back on the way home.
	Planned Kind = "planned switch"
	// Failover begins with the death of the owner's server.
	Failover Kind = "failover"
	// Emergency begins with the death of the owner's server and of its agent; a person decides at once for a copy of the in-sync set.
	Emergency Kind = "emergency"
)

// Moment is a state of a switch that can be seen from outside.
type Moment string

// The moments, in their order. AnyTime stands for a delay from the beginning alone.
const (
	AnyTime  Moment = ""
	Hold     Moment = "hold"     // begun: gateways hold, the owner closes
	Drained  Moment = "drained"  // the fence stands
	Decided  Moment = "decided"  // the store has the successor
	Severed  Moment = "severed"  // the successor's agent has journalled that it is cut off
	Promoted Moment = "promoted" // the successor's directory is no copy's any more
	Opened   Moment = "opened"   // the store has it open
	Grown    Moment = "grown"    // the in-sync set is whole again
)

// Moments are those that a kind of switch goes through. In an emergency the former owner stays down until the kill, so the set does not grow.
func Moments(k Kind) []Moment {
	switch k {
	case Planned:
		return []Moment{Hold, Drained, Decided, Severed, Promoted, Opened, Grown}
	case Failover:
		return []Moment{Decided, Severed, Promoted, Opened, Grown}
	case Emergency:
	}
	return []Moment{Decided, Severed, Promoted, Opened}
}

// Usual is about how long a switch of the kind takes, until its set is grown again: delays are spread over it.
func Usual(k Kind) time.Duration {
	switch k {
	case Planned:
		return 1200 * time.Millisecond
	case Failover:
		return 1500 * time.Millisecond
	case Emergency:
	}
	return 2500 * time.Millisecond
}

// jitter spreads kills that are tied to a moment.
const jitter = 60 * time.Millisecond

// Role is whose process is meant: that of a member of the unit, or one at the member's site.
type Role string

// The roles.
const (
	Owner  Role = "owner"  // the owner at the beginning
	Target Role = "target" // who is to take over
	Remote Role = "remote" // the asynchronous copy
)

// Process is what is killed.
type Process string

// The processes. Those of a server end the whole server, as its first process sees to it.
const (
	Node         Process = "node"
	Gateway      Process = "gateway"
	Application  Process = "application"
	Agent        Process = "agent"
	Postmaster   Process = "postmaster" // the server's first process alone: the others find out
	Checkpointer Process = "checkpointer"
	WALWriter    Process = "walwriter"
	WALReceiver  Process = "walreceiver"
	WALSender    Process = "walsender"
	Startup      Process = "startup"
	Backend      Process = "backend" // one session of an application
)

// OfServer reports whether the process belongs to a database server.
func (p Process) OfServer() bool { return p == Postmaster || slices.Contains(children, p) }

var (
	// processes are chosen from with equal weight: agents and servers stand there more often, because they do the work.
	processes = []Process{Node, Gateway, Application, Agent, Agent, Postmaster, Postmaster, child}
	children  = []Process{Checkpointer, WALWriter, WALReceiver, WALSender, Startup, Backend}
	roles     = []Role{Owner, Owner, Target, Target, Remote}
)

// child stands for one of children.
const child Process = "child"

// Round is one switch and one kill.
type Round struct {
	Unit    estate.UnitID
	Kind    Kind
	Process Process
	Role    Role
	// Moment and After say when: After the moment was seen, or after the beginning.
	Moment Moment
	After  time.Duration
}

// String says what is done, for people and as the name of a step.
func (r Round) String() string {
	at := fmt.Sprintf("%d ms after the beginning", r.After.Milliseconds())
	if r.Moment != AnyTime {
		at = fmt.Sprintf("%d ms after %q", r.After.Milliseconds(), r.Moment)
	}
	where := "of the " + string(r.Role)
	if !r.Process.OfServer() && r.Process != Agent {
		where = "at the site of the " + string(r.Role)
	}
	return fmt.Sprintf("%s of %s, %s %s killed %s", r.Kind, r.Unit, r.Process, where, at)
}

// Choices gives one round after another.
type Choices struct {
	units []estate.UnitID
	rand  *rand.Rand
	kinds []Kind
	turn  int
}

// New begins the choices of a seed, for the units, of which there has to be at least one.
func New(seed uint64, units []estate.UnitID) *Choices {
	return &Choices{units: units, rand: rand.New(rand.NewPCG(seed, 0x6b696c6c))}
}

// Next is the next round. Units take turns, and of four rounds of a unit two are planned, one is a failover and one an emergency.
func (c *Choices) Next() Round {
	if len(c.kinds) == 0 {
		order := []Kind{Planned, Planned, Failover, Emergency}
		c.rand.Shuffle(len(order), func(i, j int) { order[i], order[j] = order[j], order[i] })
		for _, k := range order {
			for range c.units {
				c.kinds = append(c.kinds, k)
			}
		}
	}
	r := Round{Unit: c.units[c.turn%len(c.units)], Kind: c.kinds[0], Process: pick(c.rand, processes), Role: pick(c.rand, roles)}
	c.turn++
	c.kinds = c.kinds[1:]
	if r.Process == child {
		r.Process = pick(c.rand, children)
	}
	if c.rand.IntN(2) == 0 {
		r.After = time.Duration(c.rand.Int64N(int64(Usual(r.Kind))))
		return r
	}
	r.Moment, r.After = pick(c.rand, Moments(r.Kind)), time.Duration(c.rand.Int64N(int64(jitter)))
	return r
}

func pick[T any](r *rand.Rand, from []T) T { return from[r.IntN(len(from))] }

// Story is a story that does nothing but kill, times times, or less often where the time d (0: no bound) is over before.
func Story(times int, d time.Duration) string {
	how := fmt.Sprintf("kills %d", times)
	if d > 0 {
		how += fmt.Sprintf(" for %ds", int(d.Seconds()))
	}
	return fmt.Sprintf(`estate two-city
start
load rate 200 accounts 1000 via a,b,c
wait load steady 60s
%s
check
`, how)
}
