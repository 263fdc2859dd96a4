package gateway

import (
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"perdure/internal/estate"
	"perdure/internal/route"
)

// metrics are the gateway's Prometheus metrics. The ones of the fast path are resolved once per unit.
type metrics struct {
	registry *prometheus.Registry

	requests  *prometheus.CounterVec
	latency   *prometheus.HistogramVec
	heldFor   *prometheus.HistogramVec
	holds     *prometheus.CounterVec
	replays   *prometheus.CounterVec
	verdicts  *prometheus.CounterVec
	sheds     *prometheus.CounterVec
	refusals  *prometheus.CounterVec
	abandoned prometheus.Counter
	malformed prometheus.Counter

	refusedInputs, brokenInputs       prometheus.Counter
	ledgerDropped, ledgerEntries      prometheus.Counter
	ledgerShipped, ledgerShipFailures *prometheus.CounterVec
	byVerdict                         [8]prometheus.Counter
	tableSaves, tableSaveFailures     prometheus.Counter
	peerAsks                          *prometheus.CounterVec
}

// unitMetrics are those of one unit.
type unitMetrics struct {
	byOutcome [outcomes]prometheus.Counter
	latency   prometheus.Observer
	heldFor   prometheus.Observer
	holds     prometheus.Counter
	replays   prometheus.Counter
}

// The outcomes by which requests are counted.
const (
	countCommitted = iota
	countReplayed
	countRefused // by the application's business rules
	countAnswered
	countUnknown // given up, effect unknown
	countNotDone // given up, nothing happened
	outcomes
)

var outcomeNames = [outcomes]string{"committed", "replayed", "refused", "answered", "unknown", "not-done"}

func newMetrics(g *Gateway) *metrics {
	m := &metrics{registry: prometheus.NewRegistry()}
	counter := func(name, help string) prometheus.Counter {
		c := prometheus.NewCounter(prometheus.CounterOpts{Name: "perdure_gateway_" + name, Help: help})
		m.registry.MustRegister(c)
		return c
	}
	vec := func(name, help string, labels ...string) *prometheus.CounterVec {
		c := prometheus.NewCounterVec(prometheus.CounterOpts{Name: "perdure_gateway_" + name, Help: help}, labels)
		m.registry.MustRegister(c)
		return c
	}
	histogram := func(name, help string, buckets []float64) *prometheus.HistogramVec {
		h := prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "perdure_gateway_" + name, Help: help, Buckets: buckets}, []string{"system", "unit"})
		m.registry.MustRegister(h)
		return h
	}
	m.requests = vec("requests_total", "Requests answered, by outcome.", "system", "unit", "outcome")
	m.refusals = vec("refusals_total", "Answers the gateway gave by itself, by kind of problem.", "problem")
	m.latency = histogram("request_seconds", "Time from arrival to answer.", prometheus.ExponentialBuckets(0.0005, 2, 16))
	m.heldFor = histogram("held_seconds", "Time that held requests waited.", prometheus.ExponentialBuckets(0.005, 2, 12))
	m.holds = vec("holds_total", "Requests that were held.", "system", "unit")
	m.replays = vec("replays_total", "Attempts after the first.", "system", "unit")
	m.verdicts = vec("answers_dropped_total", "Answers that did not count, by reason.", "verdict")
	m.sheds = vec("shed_total", "Requests refused at a limit.", "system", "limit")
	m.abandoned = counter("abandoned_total", "Attempts cut because their unit changed hands.")
	m.malformed = counter("malformed_total", "Requests that could not be read.")
	m.refusedInputs = counter("stale_inputs_total", "Parts of inputs that were older than the table.")
	m.brokenInputs = counter("broken_inputs_total", "Inputs whose definitions could not be routed.")
	m.ledgerEntries = counter("ledger_entries_total", "Acknowledged writes noted in the ledger.")
	m.ledgerDropped = counter("ledger_dropped_total", "Acknowledged writes not noted because the buffer was full.")
	m.ledgerShipped = vec("ledger_shipped_bytes_total", "Ledger bytes that another gateway has taken.", "peer")
	m.ledgerShipFailures = vec("ledger_ship_failures_total", "Failed attempts to ship the ledger.", "peer")
	m.peerAsks = vec("peer_asks_total", "Times another gateway was asked for its table because the control plane was not heard: newer, same, failed.", "peer", "result")
	m.tableSaves = counter("table_saves_total", "Tables written to disk.")
	m.tableSaveFailures = counter("table_save_failures_total", "Tables that could not be written to disk.")
	for v := route.Deliver; v <= route.Unstamped; v++ {
		m.byVerdict[v] = m.verdicts.WithLabelValues(v.String())
	}
	m.registry.MustRegister(&gauges{g: g})
	return m
}

func (m *metrics) unit(id trackID) *unitMetrics {
	s, u := string(id.system), string(id.unit)
	um := &unitMetrics{
		latency: m.latency.WithLabelValues(s, u), heldFor: m.heldFor.WithLabelValues(s, u),
		holds: m.holds.WithLabelValues(s, u), replays: m.replays.WithLabelValues(s, u),
	}
	for i, name := range outcomeNames {
		um.byOutcome[i] = m.requests.WithLabelValues(s, u, name)
	}
	return um
}

func (m *metrics) dropped(v route.Verdict) { m.byVerdict[v].Inc() }

func (m *metrics) shed(system estate.SystemID, limit string) {
	m.sheds.WithLabelValues(string(system), limit).Inc()
}

// count notes how a request ended.
func (m *metrics) count(x *exchange, p *problem, took time.Duration) {
	if p != nil {
		m.refusals.WithLabelValues(p.slug).Inc()
	}
	if x.unit == nil || x.start.IsZero() {
		return
	}
	um := x.unit.track.metrics
	um.latency.Observe(took.Seconds())
	if !x.heldAt.IsZero() {
		um.holds.Inc()
		um.heldFor.Observe(x.heldFor().Seconds())
	}
	if x.attempts > 1 {
		um.replays.Add(float64(x.attempts - 1))
	}
	um.byOutcome[countOf(x, p)].Inc()
}

func countOf(x *exchange, p *problem) int {
	if p != nil {
		if p.outcome == route.NotKnown {
			return countUnknown
		}
		return countNotDone
	}
	switch x.outcome {
	case route.Committed:
		return countCommitted
	case route.Replayed:
		return countReplayed
	case route.Declined:
		return countRefused
	case route.NotOwner, route.NotKnown, route.StillAtWork, "":
	}
	return countAnswered
}

// gauges are read from the gateway when they are asked for.
type gauges struct{ g *Gateway }

func gaugeDesc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("perdure_gateway_"+name, help, labels, nil)
}

// Describe sends nothing: the collector is unchecked, its set of labels follows the table.
func (*gauges) Describe(chan<- *prometheus.Desc) {}

// Collect reads the gateway.
func (c *gauges) Collect(out chan<- prometheus.Metric) {
	g := c.g
	v := g.view.Load()
	if v == nil {
		return
	}
	put := func(d *prometheus.Desc, value float64, labels ...string) {
		out <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, value, labels...)
	}
	put(gaugeDesc("table_version", "Store revision of the table in force."), float64(v.table.Version))
	put(gaugeDesc("table_version_on_disk", "Store revision of the table on disk."), float64(g.saved.Load()))
	put(gaugeDesc("source_silent_seconds", "Time since the control plane was last heard with a majority."), g.silence().Seconds())
	put(gaugeDesc("active_requests", "Requests inside."), float64(g.active.Load()))
	held := gaugeDesc("held_requests", "Requests held now.", "system")
	heldBytes := gaugeDesc("held_bytes", "Bytes held now.", "system")
	closed := gaugeDesc("unit_closed", "1 while nobody may do requests of the unit.", "system", "unit")
	epoch := gaugeDesc("unit_epoch", "Epoch of the unit's ownership.", "system", "unit", "incarnation")
	for _, s := range v.systems {
		put(held, float64(s.gate.held.Load()), string(s.ID))
		put(heldBytes, float64(s.gate.heldBytes.Load()), string(s.ID))
		for _, u := range s.units {
			e := &u.entry
			put(closed, boolean(e.Closed()), string(s.ID), string(e.Unit))
			put(epoch, float64(e.Ownership.Epoch), string(s.ID), string(e.Unit), strconv.FormatUint(e.Ownership.Incarnation.Counter, 10))
		}
	}
	up := gaugeDesc("instance_up", "1 while requests are sent to the instance first.", "system", "site", "instance")
	busy := gaugeDesc("instance_requests", "Attempts in flight to the instance.", "system", "site", "instance")
	now := time.Now()
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, in := range g.members {
		put(up, boolean(in.usable(now)), string(in.System), string(in.Site), in.ID)
		put(busy, float64(in.busy.Load()), string(in.System), string(in.Site), in.ID)
	}
}

func boolean(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
