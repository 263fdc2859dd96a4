package etcdnode

import (
	"context"
	"encoding/json"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"perdure/internal/errs"
	"perdure/internal/estate"
	"perdure/internal/wire"
)

// StandingOptions configure a Standing.
type StandingOptions struct {
	// Self names this node, Peers all other configured nodes.
	Self  string
	Peers []string
	// Ask asks a peer's API for its standing; it is called with a deadline.
	Ask func(ctx context.Context, peer string) (wire.Standing, error)
	// Own reads the incarnation of this node's own store, locally; the zero value where there is none yet.
	Own func(ctx context.Context) (estate.Incarnation, error)
	// HasLeader reports whether the store has a leader now.
	HasLeader func(ctx context.Context) bool
	// IsLeader reports whether this node leads the store, HandOver passes that on; both are nil for an external store.
	IsLeader func() bool
	HandOver func(ctx context.Context, peer string) error
	// Dir is the node's data directory: what was met and what a person recovered is kept there.
	Dir string
	// Every is the time between two rounds (default 500 ms). ColdAfter is how long a node may be without a leader
	// before its quorum counts as come up cold when it returns (default 30 s).
	Every, ColdAfter time.Duration
	Logger           *slog.Logger
}

// Standing is what a node may do beside its peers (I10). A node that came up, or was without a leader for long, is cold:
// elsewhere somebody may have recovered meanwhile, so it decides nothing until it has heard every configured node since,
// or one that has been warm all along, or a person's word. A node that meets a higher incarnation, or another
// recovery of the same origin, is superseded for good. Both are told to whoever asks, and MayAct refuses.
type Standing struct {
	o StandingOptions

	mu        sync.Mutex
	own       estate.Incarnation
	recovered estate.Incarnation // the incarnation that a person began in this very directory
	met       estate.Incarnation // the highest one met elsewhere
	// remembered is the own incarnation as the directory has it beside the store: a member that was recovered away ends as soon
	// as it meets the others, and then there is no store left to ask. It only serves to see that the node is superseded.
	remembered estate.Incarnation
	removed    bool // the store no longer has this node as a member
	cold       bool
	confirmed  string
	heard      map[string]heard
	lastLeader time.Time
	near       nearness
}

type heard struct {
	at       time.Time // zero: never in this boot
	since    bool      // heard since the node became cold, with a leader
	standing wire.Standing
	err      string
}

// Files in the node's data directory.
const (
	metFile       = "superseded.json"
	recoveredFile = "recovered.json"
	ownFile       = "incarnation.json"
)

// NewStanding reads what the directory remembers; the node is cold until Run or a person says otherwise.
func NewStanding(o StandingOptions) (*Standing, error) {
	if o.Every == 0 {
		o.Every = 500 * time.Millisecond
	}
	if o.ColdAfter == 0 {
		o.ColdAfter = 30 * time.Second
	}
	s := &Standing{o: o, cold: true, heard: map[string]heard{}, lastLeader: time.Now()}
	if err := readJSON(filepath.Join(o.Dir, metFile), &s.met); err != nil {
		return nil, err
	}
	if err := readJSON(filepath.Join(o.Dir, recoveredFile), &s.recovered); err != nil {
		return nil, err
	}
	if err := readJSON(filepath.Join(o.Dir, ownFile), &s.remembered); err != nil {
		return nil, err
	}
	return s, nil
}

// Recovered notes in a node's directory that a person began this incarnation there: their word stands for every later
// start in the same incarnation. It is called by recover and restore after the store holds the incarnation.
func Recovered(dir string, i estate.Incarnation) error {
	if err := writeJSON(filepath.Join(dir, ownFile), i); err != nil {
		return err
	}
	return writeJSON(filepath.Join(dir, recoveredFile), i)
}

// Run asks the peers until ctx ends.
func (s *Standing) Run(ctx context.Context) error {
	tick := time.NewTicker(s.o.Every)
	defer tick.Stop()
	for {
		s.round(ctx)
		s.handOver(ctx)
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// round asks everybody at once and judges what came back.
func (s *Standing) round(ctx context.Context) {
	limit, cancel := context.WithTimeout(ctx, 2*s.o.Every)
	defer cancel()
	answers := make([]wire.Standing, len(s.o.Peers))
	failures := make([]error, len(s.o.Peers))
	took := make([]time.Duration, len(s.o.Peers))
	var wg sync.WaitGroup
	for i, peer := range s.o.Peers {
		wg.Go(func() {
			began := time.Now()
			answers[i], failures[i] = s.o.Ask(limit, peer)
			took[i] = time.Since(began)
		})
	}
	own, err := s.o.Own(limit)
	leader := s.o.HasLeader(limit)
	wg.Wait()
	if ctx.Err() != nil {
		return
	}

	s.mu.Lock()
	defer s.mu.Unlock()
	if err == nil {
		s.own = own
		s.remember(own)
	}
	now := time.Now()
	s.judgeQuorum(leader, now)
	for i, peer := range s.o.Peers {
		if failures[i] != nil {
			h := s.heard[peer]
			h.err = failures[i].Error()
			s.heard[peer] = h
			s.near.gone(peer)
			continue
		}
		s.near.answered(peer, took[i])
		s.heard[peer] = heard{at: now, since: leader || !s.cold, standing: answers[i]}
		s.meet(peer, answers[i])
	}
	s.judgeCold(leader)
}

// remember keeps the own incarnation beside the store.
func (s *Standing) remember(own estate.Incarnation) {
	if own == s.remembered || own.Counter == 0 {
		return
	}
	if err := writeJSON(filepath.Join(s.o.Dir, ownFile), own); err != nil {
		s.o.Logger.Error("cannot keep the node's own incarnation", "error", err)
		return
	}
	s.remembered = own
}

// belongs is the incarnation that the node belongs to, by its store or, where that cannot be asked, by its directory.
func (s *Standing) belongs() estate.Incarnation {
	if s.own.Counter == 0 {
		return s.remembered
	}
	return s.own
}

// judgeQuorum makes the node cold again when it is without a leader for long. While a cold node has no leader, what it hears
// does not count: whoever answered then may have been recovered by the time the quorum is back.
func (s *Standing) judgeQuorum(leader bool, now time.Time) {
	if leader {
		s.lastLeader = now
		return
	}
	if away := now.Sub(s.lastLeader); away > s.o.ColdAfter && !s.cold {
		s.o.Logger.Warn("node is cold: the store is without a leader", "for", away)
		s.cold, s.confirmed = true, ""
	}
	if !s.cold {
		return
	}
	for peer, h := range s.heard {
		h.since = false
		s.heard[peer] = h
	}
}

// meet keeps the highest incarnation that was met, on disk before it counts.
func (s *Standing) meet(peer string, said wire.Standing) {
	for _, i := range []*estate.Incarnation{&said.Incarnation, said.Superseded} {
		if i == nil || !supersedes(*i, s.belongs()) || s.met.After(*i) || *i == s.met {
			continue
		}
		if err := writeJSON(filepath.Join(s.o.Dir, metFile), *i); err != nil {
			s.o.Logger.Error("cannot keep the incarnation that was met", "error", err)
		}
		s.met = *i
		s.o.Logger.Error("node is superseded: it decides nothing any more", "met", *i, "own", s.belongs(), "at", peer)
	}
}

// supersedes reports whether met ends the authority of own: it is higher, or another recovery of the same origin.
func supersedes(met, own estate.Incarnation) bool {
	if own.Counter == 0 || met.Counter == 0 {
		return false
	}
	return met.After(own) || met.Counter == own.Counter && met.ID != own.ID
}

func (s *Standing) judgeCold(leader bool) {
	if !s.cold || !leader || s.own.Counter == 0 {
		return
	}
	if s.recovered == s.own {
		s.warm("a person recovered this incarnation here")
		return
	}
	for _, h := range s.heard {
		if h.since && !h.standing.Cold && h.standing.Superseded == nil && h.standing.Incarnation == s.own {
			s.warm("node " + h.standing.Node + " has been warm all along")
			return
		}
	}
	if len(s.missing()) == 0 {
		s.warm("every configured node was heard")
	}
}

func (s *Standing) warm(why string) {
	s.cold = false
	s.o.Logger.Info("node may act", "because", why)
}

func (s *Standing) missing() []string {
	var names []string
	for _, peer := range s.o.Peers {
		if !s.heard[peer].since {
			names = append(names, peer)
		}
	}
	return names
}

// Cold reports whether the node still waits for every configured node or a person's word.
func (s *Standing) Cold() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.cold
}

// Confirm is a person's word that no other recovery acts elsewhere; it holds for this boot.
func (s *Standing) Confirm(person string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.over(); err != nil {
		return err
	}
	if s.own.Counter == 0 {
		return errs.New(errs.Unavailable, "node %s has not read its store yet: wait until it has, then confirm", s.o.Self)
	}
	s.confirmed = person
	if s.cold {
		s.warm("confirmed by " + person)
	}
	return nil
}

// MayAct refuses while the node is cold or superseded. Every change of ownership asks it first.
func (s *Standing) MayAct() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.over(); err != nil {
		return err
	}
	if s.cold {
		e := errs.New(errs.Unavailable, "node %s came up cold and has not heard %s: it decides nothing until it has, or until a person who knows that nobody "+
			"recovered the estate elsewhere says so (perdure node confirm)", s.o.Self, s.waitsFor())
		e.Invariant = "I10"
		return e
	}
	return nil
}

func (s *Standing) waitsFor() string {
	if s.own.Counter == 0 {
		return "its own store"
	}
	return "node " + strings.Join(s.missing(), ", node ")
}

// Over says why the node's part in the estate has ended and how it joins again, nil while it has not: it was superseded (I10), or
// its member was taken out of the store. It stays so until its directory is emptied.
func (s *Standing) Over() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.over()
}

// Remove notes that the store no longer has this node as a member.
func (s *Standing) Remove() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.removed = true
}

func (s *Standing) over() error {
	if supersedes(s.met, s.belongs()) {
		return s.superseded()
	}
	if s.removed {
		e := errs.New(errs.Unavailable, "node %s was taken out of the control store: it decides nothing any more; %s", s.o.Self, joinAgain)
		e.Invariant = "I10"
		return e
	}
	return nil
}

// joinAgain is the way back for a node whose part has ended.
const joinAgain = "stop it, empty its data directory and let it join again (perdure node join at a node in force, then store.join: true)"

func (s *Standing) superseded() error {
	own := s.belongs()
	e := errs.New(errs.Unavailable, "node %s belongs to incarnation %d.%s of the estate, but %d.%s is in force elsewhere: it decides nothing any more; %s",
		s.o.Self, own.Counter, own.ID, s.met.Counter, s.met.ID, joinAgain)
	e.Invariant = "I10"
	return e
}

// View gives the node's own standing and what it knows of its peers.
func (s *Standing) View() (wire.Standing, []wire.NodeView) {
	s.mu.Lock()
	defer s.mu.Unlock()
	own := wire.Standing{Node: s.o.Self, Incarnation: s.own, Cold: s.cold, ConfirmedBy: s.confirmed, Removed: s.removed}
	if s.cold {
		own.Missing = s.missing()
	}
	if far, ok := s.near.toMajority(len(s.o.Peers) + 1); ok {
		own.MajorityMicros = far.Microseconds()
	}
	if supersedes(s.met, s.belongs()) {
		met := s.met
		own.Superseded = &met
	}
	nodes := []wire.NodeView{{Node: s.o.Self, Standing: own}}
	for _, peer := range s.o.Peers {
		h := s.heard[peer]
		v := wire.NodeView{Node: peer, HeardMillis: -1, Standing: h.standing, Error: h.err}
		if !h.at.IsZero() {
			v.HeardMillis = time.Since(h.at).Milliseconds()
		}
		nodes = append(nodes, v)
	}
	slices.SortFunc(nodes, func(a, b wire.NodeView) int { return strings.Compare(a.Node, b.Node) })
	return own, nodes
}

func readJSON(path string, v any) error {
	data, err := os.ReadFile(path)
	if os.IsNotExist(err) {
		return nil
	}
	if err == nil {
		err = json.Unmarshal(data, v)
	}
	if err != nil {
		return errs.New(errs.Unavailable, "cannot read %s: %w", path, err)
	}
	return nil
}

// writeJSON replaces the file whole and makes it durable before it returns.
func writeJSON(path string, v any) error {
	data, err := json.Marshal(v)
	if err != nil {
		return errs.New(errs.Internal, "cannot encode %s: %w", path, err)
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".tmp-*")
	if err != nil {
		return errs.New(errs.Unavailable, "cannot write %s: %w", path, err)
	}
	defer os.Remove(f.Name())
	_, err = f.Write(data)
	if err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err == nil {
		err = syncDir(filepath.Dir(path))
	}
	if err != nil {
		return errs.New(errs.Unavailable, "cannot write %s: %w", path, err)
	}
	return nil
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}
