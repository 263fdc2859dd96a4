package preflight

import (
	"context"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"perdure/internal/measure"
	"perdure/internal/plan"
	"perdure/internal/wire"
)

// Armed is a run that a plan of the applied manifest names as armed.
type Armed struct {
	Name    string
	Program *plan.Program // nil: Failed says why there is none
	Params  map[string]any
	Plan    string
	Mode    plan.Mode
	// Print tells apart what the run would do and what it would do it to.
	Print  string
	Failed string
}

// Plans reads the armed runs of a manifest.
type Plans interface {
	Armed(manifest string) ([]Armed, error)
}

// Kept is the store of a watcher.
type Kept interface {
	Store
	Manifest(ctx context.Context, r wire.Read) (wire.Manifest, error)
	Armed(ctx context.Context, r wire.Read) ([]measure.Armed, error)
	KeepArmed(ctx context.Context, who string, a measure.Armed) error
	DropArmed(ctx context.Context, who string, a measure.Armed) error
}

// Options configure a watcher.
type Options struct {
	Node string
	// IsLeader says whether this node works; nil: always.
	IsLeader func() bool
	MayAct   func() error
	// Every is the time between two looks; default measure.LookedEvery.
	Every time.Duration
	// Now gives the time of day; default time.Now.
	Now func() time.Time
	// Register takes the metrics; it may be nil.
	Register prometheus.Registerer
	Logger   *slog.Logger
}

// How often the watcher sees whether the manifest is another one, and keeps the time of a look that found the same as the one before.
const (
	glanceEvery = 2 * time.Second
	keptEvery   = 2 * time.Minute
)

// Watcher looks ahead at armed runs again and again.
type Watcher struct {
	ahead *Preflights
	store Kept
	plans Plans
	o     Options
	log   *slog.Logger

	revision int64 // of the manifest that armed was read from
	armed    []Armed
	history  map[string]remembered // by plan

	findings, verified *prometheus.GaugeVec
}

// remembered is what the runs of a plan told; of says of which runs.
type remembered struct {
	of      string
	history *measure.History
}

// NewWatcher makes a watcher.
func NewWatcher(store Kept, plans Plans, looks Looker, o Options) *Watcher {
	if o.IsLeader == nil {
		o.IsLeader = func() bool { return true }
	}
	if o.Every == 0 {
		o.Every = measure.LookedEvery
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	labels := []string{"plan", "armed"}
	w := &Watcher{
		ahead: New(store, looks), store: store, plans: plans, o: o, log: o.Logger.With("node", o.Node), revision: -1, history: map[string]remembered{},
		findings: prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "perdure_armed_findings", Help: "What speaks against the start of an armed run, as the node at the store's leader found it; -1: nothing could be said."}, labels),
		verified: prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "perdure_armed_verified", Help: "1 where a run has shown that an armed run works as it is now."}, labels),
	}
	if o.Register != nil {
		o.Register.MustRegister(w.findings, w.verified)
	}
	return w
}

// Run works until ctx ends.
func (w *Watcher) Run(ctx context.Context) error {
	tick := time.NewTicker(min(glanceEvery, w.o.Every))
	defer tick.Stop()
	var last time.Time
	looked := int64(-1) // the manifest's revision then
	for {
		if w.o.IsLeader() && w.o.MayAct() == nil {
			m, err := w.store.Manifest(ctx, wire.Local)
			if err == nil && (m.Revision != looked || w.o.Now().Sub(last) >= w.o.Every) {
				last, looked = w.o.Now(), m.Revision
				err = w.look(ctx, m)
			}
			if err != nil && ctx.Err() == nil {
				w.log.Warn("cannot look ahead at the armed runs; it is tried again", "err", err)
			}
		} else {
			w.findings.Reset()
			w.verified.Reset()
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// look looks ahead at all armed runs of a manifest, and keeps what is new.
func (w *Watcher) look(ctx context.Context, m wire.Manifest) error {
	if m.Revision != w.revision {
		armed, err := w.plans.Armed(m.Text)
		if err != nil {
			return err
		}
		w.armed, w.revision, w.history = armed, m.Revision, map[string]remembered{}
	}
	list, err := w.store.Armed(ctx, wire.Fresh)
	if err != nil {
		return err
	}
	type key struct{ plan, name string }
	kept := map[key]measure.Armed{}
	for _, a := range list {
		kept[key{a.Plan, a.Name}] = a
	}
	var runs []wire.Run
	if len(w.armed) > 0 {
		if runs, err = w.store.Runs(ctx, wire.Fresh); err != nil {
			return err
		}
	}
	w.findings.Reset()
	w.verified.Reset()
	look := newLook(w.ahead.looks)
	for _, a := range w.armed {
		k := key{a.Plan, a.Name}
		before := kept[k]
		delete(kept, k)
		now, err := w.one(ctx, a, runs, before, look)
		if err != nil {
			return err
		}
		w.tell(now)
		if !now.Same(before) || now.Looked.Sub(before.Looked) >= keptEvery {
			if err := w.store.KeepArmed(ctx, "node:"+w.o.Node, now); err != nil {
				return err
			}
		}
	}
	for _, gone := range kept {
		if err := w.store.DropArmed(ctx, "node:"+w.o.Node, gone); err != nil {
			return err
		}
	}
	return nil
}

// one looks ahead at an armed run.
func (w *Watcher) one(ctx context.Context, a Armed, runs []wire.Run, before measure.Armed, look *look) (measure.Armed, error) {
	out := measure.Armed{Plan: a.Plan, Name: a.Name, Mode: a.Mode, Params: a.Params, Print: a.Print}
	if a.Program == nil {
		return out.Look(w.o.Now().UTC(), nil, a.Failed, nil, before), nil
	}
	out.Title, out.RTO = a.Program.Title, a.Program.RTO
	history, err := w.historyOf(ctx, a.Program, runs)
	if err != nil {
		return out, err
	}
	found, err := ahead(ctx, a.Program, a.Params, history, look)
	if ctx.Err() != nil {
		return out, ctx.Err()
	}
	failed := ""
	if err != nil {
		failed = err.Error()
	}
	var ran []measure.Ran
	for _, r := range done(runs, []string{a.Plan}) {
		ran = append(ran, measure.Ran{ID: r.ID, Began: time.UnixMilli(r.StartedAt).UTC(), Ended: time.UnixMilli(r.FinishedAt).UTC()})
	}
	return out.Look(w.o.Now().UTC(), found, failed, ran, before), nil
}

// historyOf is what the runs of a plan tell; it is read anew where there are other ones.
func (w *Watcher) historyOf(ctx context.Context, program *plan.Program, runs []wire.Run) (*measure.History, error) {
	list, of := done(runs, partsOf(program)), ""
	for _, r := range list {
		of += r.ID + " "
	}
	if have, ok := w.history[program.Plan]; ok && have.of == of {
		return have.history, nil
	}
	history, err := w.ahead.historyOf(ctx, list)
	if err == nil {
		w.history[program.Plan] = remembered{of, history}
	}
	return history, err
}

func (w *Watcher) tell(a measure.Armed) {
	findings, verified := float64(len(a.Findings)), 0.0
	if a.Failed != "" {
		findings = -1
	}
	if a.Verified != "" {
		verified = 1
	}
	w.findings.WithLabelValues(a.Plan, a.Name).Set(findings)
	w.verified.WithLabelValues(a.Plan, a.Name).Set(verified)
}
