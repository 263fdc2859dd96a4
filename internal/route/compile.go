package route

import (
	"regexp"
	"slices"
	"strings"
	"time"

	"perdure/internal/errs"
	"perdure/internal/estate"
	"perdure/internal/unit"
)

// Defaults that Compile fills in where an input says nothing.
const (
	DefaultHoldTime       = 10 * time.Second
	DefaultHoldCount      = 4096
	DefaultHoldBytes      = 64 << 20
	DefaultAttemptTimeout = 5 * time.Second
	DefaultUnkeyedTimeout = 30 * time.Second
	DefaultMaxBody        = 1 << 20
	DefaultMaxConcurrent  = 8192
	DefaultMaxConns       = 512
	DefaultHealth         = "/healthz"
	DefaultKeyHeader      = "Idempotency-Key"
)

// Table is a compiled input. It never changes; a newer one replaces it whole.
type Table struct {
	Version int64
	// Systems are in the order of the input; Match picks one.
	Systems []*SystemTable
	// Instances are those of the routed systems, with what they leave to their system and to the defaults filled in.
	Instances []Instance
	// Notes say what of the input was left out because nothing refers to it.
	Notes []string

	input Input
	match []match // most specific first
}

// SystemTable is the compiled part of one system.
type SystemTable struct {
	ID         estate.SystemID
	RequireKey bool
	KeyHeader  string // never empty
	Limits     Limits
	Hold       HoldLimits
	health     Health
	// AttemptTimeout and UnkeyedTimeout are never 0.
	AttemptTimeout, UnkeyedTimeout time.Duration
	// Units are in the order of the input; Lookup gives an index into them.
	Units []Entry

	slots     uint32
	mask      uint32  // slots-1 where slots is a power of two
	unitOf    []int16 // of a slot; ^unit where some key of the slot is listed in overrides
	overrides map[string]int16
	keys      []keySource
	reads     []template
}

// Entry is one unit of a system.
type Entry struct {
	Unit   estate.UnitID
	System estate.SystemID
	Group  estate.GroupID
	State
	// Stamp is the ownership as it travels in Perdure-Ownership.
	Stamp string
	// Instances serve the unit at the owner's site.
	Instances []Instance
}

type match struct {
	host   string
	prefix string
	system int
}

// Compile makes a table. An error says which part of the input is wrong; owners and instances that refer to nothing are only noted.
func Compile(in Input) (*Table, error) {
	t := &Table{Version: in.Version, input: in}
	byID := make(map[estate.SystemID]*SystemTable, len(in.Systems))
	for i := range in.Systems {
		s, err := compileSystem(&in.Systems[i])
		if err != nil {
			return nil, err
		}
		if byID[s.ID] != nil {
			return nil, errs.New(errs.Invalid, "system %s is listed twice: give each system one entry", s.ID)
		}
		byID[s.ID] = s
		t.Systems = append(t.Systems, s)
		if err := t.addMatches(&in.Systems[i], i); err != nil {
			return nil, err
		}
	}
	sortMatches(t.match)
	if err := t.giveOwners(in.Owners, byID); err != nil {
		return nil, err
	}
	t.giveInstances(in.Instances, byID)
	return t, nil
}

// Input gives what the table was compiled from; the caller must not change it.
func (t *Table) Input() Input { return t.input }

func (t *Table) addMatches(s *System, index int) error {
	hosts, paths := s.Hosts, s.Paths
	if len(hosts) == 0 {
		hosts = []string{""}
	}
	if len(paths) == 0 {
		paths = []string{"/"}
	}
	for _, h := range hosts {
		for _, p := range paths {
			if !strings.HasPrefix(p, "/") {
				return errs.New(errs.Invalid, "system %s: path prefix %q does not start with /", s.ID, p)
			}
			m := match{strings.ToLower(h), p, index}
			for _, o := range t.match {
				if o.host == m.host && o.prefix == m.prefix {
					return errs.New(errs.Invalid, "systems %s and %s both claim host %q and path prefix %q: give one of them a host or a longer prefix",
						t.Systems[o.system].ID, s.ID, h, p)
				}
			}
			t.match = append(t.match, m)
		}
	}
	return nil
}

func sortMatches(m []match) {
	slices.SortStableFunc(m, func(a, b match) int {
		if (a.host == "") != (b.host == "") {
			if a.host == "" {
				return 1
			}
			return -1
		}
		return len(b.prefix) - len(a.prefix)
	})
}

func compileSystem(in *System) (*SystemTable, error) {
	s := &SystemTable{
		ID: in.ID, RequireKey: in.RequireKey, KeyHeader: orDefault(in.KeyHeader, DefaultKeyHeader), Limits: in.Limits, Hold: in.Hold, health: in.Health,
		AttemptTimeout: orDefault(in.AttemptTimeout, DefaultAttemptTimeout), UnkeyedTimeout: orDefault(in.UnkeyedTimeout, DefaultUnkeyedTimeout),
	}
	if in.ID == "" {
		return nil, errs.New(errs.Invalid, "a system has no id")
	}
	if ReservedHeader(s.KeyHeader) {
		return nil, errs.New(errs.Invalid, "system %s: header %s cannot carry the idempotency key, it has a meaning of its own: name another one", in.ID, s.KeyHeader)
	}
	s.Limits.MaxBody = orDefault(s.Limits.MaxBody, DefaultMaxBody)
	s.Limits.MaxConcurrent = orDefault(s.Limits.MaxConcurrent, DefaultMaxConcurrent)
	if s.Limits.Rate > 0 {
		s.Limits.Burst = orDefault(s.Limits.Burst, max(1, int(s.Limits.Rate)))
	}
	s.Hold.Time = orDefault(s.Hold.Time, DefaultHoldTime)
	s.Hold.Count = orDefault(s.Hold.Count, DefaultHoldCount)
	s.Hold.Bytes = orDefault(s.Hold.Bytes, DefaultHoldBytes)
	s.Hold.RefuseAfter = orDefault(s.Hold.RefuseAfter, 3*s.Hold.Time)
	if err := s.compileSlots(in); err != nil {
		return nil, err
	}
	if len(in.Keys) == 0 {
		return nil, errs.New(errs.Invalid, "system %s has no routing key source: name a header, path, query, json or cookie", in.ID)
	}
	for _, k := range in.Keys {
		c, err := compileKey(k)
		if err != nil {
			return nil, errs.New(errs.Invalid, "system %s: %w", in.ID, err)
		}
		s.keys = append(s.keys, c)
	}
	for _, r := range in.Reads {
		p, err := parseTemplate(r)
		if err != nil {
			return nil, errs.New(errs.Invalid, "system %s: reads: %w", in.ID, err)
		}
		s.reads = append(s.reads, p)
	}
	return s, nil
}

func (s *SystemTable) compileSlots(in *System) error {
	slots := orDefault(in.Slots, estate.DefaultSlots)
	if slots < 1 || slots > 65536 {
		return errs.New(errs.Invalid, "system %s has %d slots: want 1 to 65536", in.ID, slots)
	}
	if len(in.Units) == 0 || len(in.Units) > 32767 {
		return errs.New(errs.Invalid, "system %s has %d units: want 1 to 32767", in.ID, len(in.Units))
	}
	s.slots = uint32(slots)
	if slots&(slots-1) == 0 {
		s.mask = uint32(slots - 1)
	}
	s.unitOf = make([]int16, slots)
	for i := range s.unitOf {
		s.unitOf[i] = -1
	}
	index := make(map[estate.UnitID]int16, len(in.Units))
	for i, u := range in.Units {
		if _, twice := index[u.ID]; twice || u.ID == "" {
			return errs.New(errs.Invalid, "system %s: unit %q is listed twice or has no id", in.ID, u.ID)
		}
		index[u.ID] = int16(i)
		s.Units = append(s.Units, Entry{Unit: u.ID, System: in.ID, State: State{State: unit.Closed, RefuseAfter: s.Hold.RefuseAfter}})
		for _, r := range u.Slots {
			if r.First > r.Last || int(r.Last) >= slots {
				return errs.New(errs.Invalid, "system %s: unit %s: slots %d-%d are not within 0-%d", in.ID, u.ID, r.First, r.Last, slots-1)
			}
			for slot := int(r.First); slot <= int(r.Last); slot++ {
				if other := s.unitOf[slot]; other >= 0 {
					return errs.New(errs.Invalid, "system %s: slot %d belongs to %s and to %s: a slot has one unit", in.ID, slot, in.Units[other].ID, u.ID)
				}
				s.unitOf[slot] = int16(i)
			}
		}
	}
	for slot, u := range s.unitOf {
		if u < 0 {
			return errs.New(errs.Invalid, "system %s: slot %d belongs to no unit: give every slot of 0-%d to one", in.ID, slot, slots-1)
		}
	}
	for key, u := range in.Overrides {
		i, known := index[u]
		if !known {
			return errs.New(errs.Invalid, "system %s: key %q is given to unit %s, which the system does not have", in.ID, key, u)
		}
		if s.overrides == nil {
			s.overrides = make(map[string]int16, len(in.Overrides))
		}
		s.overrides[key] = i
		if slot := estate.SlotOf([]byte(key), slots); s.unitOf[slot] >= 0 {
			s.unitOf[slot] = ^s.unitOf[slot]
		}
	}
	return nil
}

func (t *Table) giveOwners(owners []Owner, byID map[estate.SystemID]*SystemTable) error {
	for _, o := range owners {
		if o.Gone {
			continue
		}
		s := byID[o.System]
		if s == nil {
			t.Notes = append(t.Notes, "group "+string(o.Group)+" belongs to system "+string(o.System)+", which is not routed here")
			continue
		}
		for _, id := range o.Units {
			e := s.entry(id)
			if e == nil {
				t.Notes = append(t.Notes, "group "+string(o.Group)+" carries unit "+string(id)+", which has no slots")
				continue
			}
			if e.Group != "" && e.Group != o.Group {
				return errs.Refuse("I1", "unit %s is carried by the groups %s and %s: a unit has one owner", id, e.Group, o.Group)
			}
			e.Group = o.Group
			e.Ownership, e.Stamp = o.Ownership, o.Ownership.String()
			e.State.State, e.Site, e.Phase, e.Down = o.State, o.Site, o.Phase, o.Down
			e.Conflict = !o.Conflicted.IsZero()
		}
	}
	return nil
}

func (t *Table) giveInstances(instances []Instance, byID map[estate.SystemID]*SystemTable) {
	for _, in := range instances {
		s := byID[in.System]
		if s == nil || in.ID == "" || in.Address == "" {
			t.Notes = append(t.Notes, "instance "+in.ID+" of system "+string(in.System)+" is not routed here")
			continue
		}
		in.Health = orDefault(orDefault(in.Health, s.health.Path), DefaultHealth)
		in.HealthEvery = orDefault(in.HealthEvery, s.health.Every)
		in.HealthTimeout = orDefault(in.HealthTimeout, s.health.Timeout)
		in.HealthFailures = orDefault(in.HealthFailures, s.health.Failures)
		in.MaxConns = orDefault(in.MaxConns, DefaultMaxConns)
		t.Instances = append(t.Instances, in)
		for i := range s.Units {
			e := &s.Units[i]
			if in.Site == e.Site && (len(in.Units) == 0 || slices.Contains(in.Units, e.Unit)) {
				e.Instances = append(e.Instances, in)
			}
		}
	}
}

// ReservedHeader reports whether a header means something to the gateway or to HTTP itself, so that no idempotency key may stand in it.
// Underscores count as dashes.
func ReservedHeader(name string) bool {
	name = strings.ReplaceAll(strings.ToLower(name), "_", "-")
	switch name {
	case "host", "connection", "content-length", "content-type", "content-encoding", "transfer-encoding", "expect", "te", "trailer", "upgrade", "keep-alive",
		"http2-settings", "proxy-connection", "proxy-authorization", "authorization", "cookie":
		return true
	}
	return strings.HasPrefix(name, "perdure-")
}

func (s *SystemTable) entry(id estate.UnitID) *Entry {
	for i := range s.Units {
		if s.Units[i].Unit == id {
			return &s.Units[i]
		}
	}
	return nil
}

func compileKey(k KeySource) (keySource, error) {
	c := keySource{from: k.From, name: k.Name}
	for _, o := range k.Only {
		p, err := parseTemplate(o)
		if err != nil {
			return c, err
		}
		c.only = append(c.only, p)
	}
	if k.Name == "" {
		return c, errs.New(errs.Invalid, "a %s key source has no name", k.From)
	}
	switch k.From {
	case FromHeader, FromQuery, FromCookie:
	case FromJSON:
		c.field = strings.Split(k.Name, ".")
		if len(c.field) > maxJSONDepth || slices.Contains(c.field, "") {
			return c, errs.New(errs.Invalid, "json field %q: want names joined by dots", k.Name)
		}
	case FromPath:
		p, err := parseTemplate(k.Name)
		if err != nil {
			return c, err
		}
		if p.key < 0 {
			return c, errs.New(errs.Invalid, "path template %q has no {key}", k.Name)
		}
		c.path = p
	case FromPathRegexp:
		re, err := regexp.Compile(k.Name)
		if err != nil {
			return c, errs.New(errs.Invalid, "path-regexp: %w", err)
		}
		c.group = max(1, re.SubexpIndex("key"))
		if re.NumSubexp() < 1 {
			return c, errs.New(errs.Invalid, "path-regexp %q has no group for the key", k.Name)
		}
		c.re = re
	default:
		return c, errs.New(errs.Invalid, "key source %q: want header, query, cookie, json, path or path-regexp", k.From)
	}
	return c, nil
}

func orDefault[T comparable](v, d T) T {
	var zero T
	if v == zero {
		return d
	}
	return v
}
