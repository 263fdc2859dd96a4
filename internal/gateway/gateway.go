// Package gateway is the data plane: it takes requests in, finds the unit of their routing key, and forwards them to a healthy
// instance of the owning site. While a unit changes hands it holds requests and sends those with an Idempotency-Key again,
// so that a client sees a pause instead of an error. It needs no control plane to go on: its table lies in memory and on disk.
//
// Invariants kept here: an answer of an older ownership than the table's never reaches a client, only keyed requests and reads are
// sent again after an unknown outcome, every hold has its own end, and no unit's ownership ever goes down in the table (I14).
package gateway

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/valyala/fasthttp"

	"perdure/internal/errs"
	"perdure/internal/estate"
	"perdure/internal/route"
)

// Source is where tables come from. The gateway works without it for as long as it must.
type Source interface {
	// Watch calls deliver with the whole input, first the present one, then after every change, until ctx ends or the source fails.
	// It calls heard, once a second or more often, for as long as what it delivered is all that a majority of the control plane knows.
	Watch(ctx context.Context, deliver func(route.Input), heard func()) error
	// Ack says that the gateway routes by the version, or a later one.
	Ack(ctx context.Context, version int64) error
}

// Peer is the gateway of another site: it keeps a copy of this one's ledger, and lends its table where the source is not heard.
type Peer struct {
	Name string // of the gateway, for example "c"
	URL  string // of its admin port, for example https://gateway.c.perdure.internal:7510
}

// Dial opens a connection; addresses carry names, so this is also where names are resolved.
type Dial func(ctx context.Context, network, address string) (net.Conn, error)

// Options configure a gateway. Zero values mean the defaults named here.
type Options struct {
	// Name is the gateway's machine name without role, for example "a"; it names its part of the ledger.
	Name string
	Site estate.SiteID
	// Listen and TLS are of the traffic port; TLS nil means plain HTTP/1.1. With TLS.ClientCAs set, the common name of a
	// client's certificate is the caller, whatever Perdure-Caller says.
	Listen string
	TLS    *tls.Config
	// AdminListen and AdminTLS are of the admin port. AdminTLS has to ask for client certificates
	// (tls.VerifyClientCertIfGiven and ClientCAs). Without AdminTLS all but health is refused, unless AdminOpen is set.
	AdminListen string
	AdminTLS    *tls.Config
	AdminOpen   bool
	// Data is the directory of table.json and ledger/.
	Data string
	// Source may be nil: then the table on disk, or Static, is all there is.
	Source Source
	Static *route.Input
	// Dial is used for instances and peers; default net.Dialer.
	Dial Dial
	// UpstreamTLS is for https instances, PeerTLS for peers' admin ports.
	UpstreamTLS, PeerTLS *tls.Config
	Peers                []Peer
	// Silence is how long the source may not be heard until peers are asked for their tables, default 1.5 s.
	Silence time.Duration

	MaxHeader    int           // bytes of a request's head, default 16 KiB
	MaxAnswer    int           // bytes of an answer's body, default 32 MiB
	ReadTimeout  time.Duration // of a whole request, and of an idle client connection; default 30 s
	WriteTimeout time.Duration // default 30 s
	DialTimeout  time.Duration // default 1 s
	HealthEvery  time.Duration // default 1 s
	Drain        time.Duration // how long Run waits for requests in flight after its context ended, default 15 s
	MaxClients   int           // client connections, default 65536

	// AccessLog says which requests are logged, default LogErrors.
	AccessLog AccessLog
	Ledger    LedgerOptions
}

// Gateway is one running gateway.
type Gateway struct {
	o    Options
	log  *slog.Logger
	ln   net.Listener
	alog net.Listener
	srv  *fasthttp.Server
	adm  *http.Server

	view    atomic.Pointer[view]
	mu      sync.Mutex // over everything that builds the next view
	table   *route.Table
	tracks  map[trackID]*track
	gates   map[estate.SystemID]*gate
	members map[instanceID]*instance
	leaving []*instance // no longer in the table, attempts still in flight

	began    time.Time
	clock    atomic.Int64    // at(now), at most 20 ms ago, see reap
	ctx      context.Context // ends when the drain is over
	stop     context.CancelFunc
	running  bool // health checks have been started; under mu
	draining atomic.Bool
	active   atomic.Int64 // requests being handled
	work     sync.WaitGroup

	save    chan struct{} // asks the disk writer for a turn
	saved   atomic.Int64  // version on disk
	onDisk  route.Input   // of keepTable alone
	acks    chan struct{}
	source  hearing
	lending lending
	ledger  *ledger
	metrics *metrics
	lines   lineLimit

	anonymous []byte // the caller of requests that name none
	exchanges exchangePool
	timers    timerPool
}

// New opens the listeners and loads the table from disk. Run must follow, or Close.
func New(o Options, log *slog.Logger) (*Gateway, error) {
	o.defaults()
	g := &Gateway{
		o: o, log: log, began: time.Now(),
		tracks: map[trackID]*track{}, gates: map[estate.SystemID]*gate{}, members: map[instanceID]*instance{},
		anonymous: []byte("anonymous"), save: make(chan struct{}, 1), acks: make(chan struct{}, 1),
		source: hearing{again: make(chan struct{}, 1)},
	}
	g.ctx, g.stop = context.WithCancel(context.Background())
	g.metrics = newMetrics(g)
	if o.Data != "" {
		if err := os.MkdirAll(filepath.Join(o.Data, "ledger"), 0o700); err != nil {
			return nil, errs.New(errs.Unavailable, "cannot use data directory %s: %w", o.Data, err)
		}
		l, err := openLedger(filepath.Join(o.Data, "ledger"), o.Name, o.Ledger)
		if err != nil {
			return nil, err
		}
		g.ledger = l
	}
	empty, err := route.Compile(route.Input{})
	if err != nil {
		return nil, err
	}
	g.publish(empty)
	if err := g.loadTable(); err != nil {
		return nil, err
	}
	if o.Static != nil {
		g.take(*o.Static)
	}
	if g.ln, err = listen(o.Listen); err != nil {
		return nil, err
	}
	if o.AdminListen != "" {
		if g.alog, err = listen(o.AdminListen); err != nil {
			g.ln.Close()
			return nil, err
		}
	}
	g.srv = g.server()
	g.adm = &http.Server{Handler: g.adminHandler(), ReadHeaderTimeout: 5 * time.Second, ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelDebug)}
	return g, nil
}

func (o *Options) defaults() {
	o.MaxHeader = orDefault(o.MaxHeader, 16<<10)
	o.MaxAnswer = orDefault(o.MaxAnswer, 32<<20)
	o.ReadTimeout = orDefault(o.ReadTimeout, 30*time.Second)
	o.WriteTimeout = orDefault(o.WriteTimeout, 30*time.Second)
	o.DialTimeout = orDefault(o.DialTimeout, time.Second)
	o.HealthEvery = orDefault(o.HealthEvery, time.Second)
	o.Silence = orDefault(o.Silence, 1500*time.Millisecond)
	o.Drain = orDefault(o.Drain, 15*time.Second)
	o.MaxClients = orDefault(o.MaxClients, 65536)
	o.AccessLog = orDefault(o.AccessLog, LogErrors)
	o.Ledger.defaults()
	if o.Dial == nil {
		o.Dial = (&net.Dialer{}).DialContext
	}
}

func orDefault[T comparable](v, d T) T {
	var zero T
	if v == zero {
		return d
	}
	return v
}

func listen(address string) (net.Listener, error) {
	ln, err := net.Listen("tcp", address)
	if err != nil {
		return nil, errs.New(errs.Unavailable, "cannot listen on %s: %w; free the port or give another one", address, err)
	}
	return ln, nil
}

// Addr is the address of the traffic port, AdminAddr that of the admin port ("" where there is none).
func (g *Gateway) Addr() string { return g.ln.Addr().String() }

// AdminAddr is the address of the admin port, "" where there is none.
func (g *Gateway) AdminAddr() string {
	if g.alog == nil {
		return ""
	}
	return g.alog.Addr().String()
}

// Version is the version of the table the gateway routes by.
func (g *Gateway) Version() int64 { return g.view.Load().table.Version }

// Close gives back what New took, for callers that never Run.
func (g *Gateway) Close() {
	g.stop()
	g.ln.Close()
	if g.alog != nil {
		g.alog.Close()
	}
	if g.ledger != nil {
		_ = g.ledger.close()
	}
}

// Run serves until ctx ends, then drains: no new connections, requests in flight are finished, at most Options.Drain long.
func (g *Gateway) Run(ctx context.Context) error {
	fail := make(chan error, 2)
	background := func(f func()) {
		g.work.Go(func() {
			f()
		})
	}
	background(g.reap)
	background(g.keepTable)
	if g.o.Source != nil {
		background(g.follow)
		background(g.acknowledge)
		if len(g.o.Peers) > 0 {
			background(g.borrow)
		}
	}
	if g.ledger != nil {
		background(func() {
			g.ledger.run(g.ctx, func(err error) { g.log.Error("the ledger cannot be written", "error", err) })
		})
		for _, p := range g.o.Peers {
			background(func() { g.ship(g.ctx, p) })
		}
	}
	g.startHealth()
	served := make(chan struct{})
	background(func() {
		defer close(served)
		if err := g.srv.Serve(g.front()); err != nil && !g.draining.Load() {
			fail <- errs.New(errs.Internal, "traffic port: %w", err)
		}
	})
	if g.alog != nil {
		background(func() {
			if err := g.adm.Serve(g.adminListener()); err != nil && !errors.Is(err, http.ErrServerClosed) {
				fail <- errs.New(errs.Internal, "admin port: %w", err)
			}
		})
	}
	g.log.Info("gateway serves", "site", g.o.Site, "address", g.Addr(), "admin", g.AdminAddr(), "version", g.Version())

	var err error
	select {
	case <-ctx.Done():
	case err = <-fail:
	}
	g.drain(served)
	g.work.Wait()
	if g.ledger != nil {
		if e := g.ledger.close(); e != nil {
			g.log.Error("the ledger cannot be written", "error", e)
		}
	}
	return err
}

// drain ends the gateway: requests first, then everything that serves them.
func (g *Gateway) drain(served <-chan struct{}) {
	g.draining.Store(true)
	g.log.Info("gateway drains", "requests", g.active.Load())
	end, cancel := context.WithTimeout(context.Background(), g.o.Drain)
	defer cancel()
	err := g.srv.ShutdownWithContext(end)
	// fasthttp does not notice a shutdown that comes before it has begun to serve: close the listener ourselves, then ask again.
	_ = g.ln.Close()
	<-served
	if err == nil {
		err = g.srv.ShutdownWithContext(end)
	}
	if err != nil {
		g.log.Warn("gateway gave up requests in flight", "requests", g.active.Load())
	}
	g.stop() // held requests get their last answer now
	for give := time.Now().Add(time.Second); g.active.Load() > 0 && time.Now().Before(give); {
		<-time.After(5 * time.Millisecond)
	}
	if g.alog != nil {
		short, done := context.WithTimeout(context.Background(), time.Second)
		defer done()
		if g.adm.Shutdown(short) != nil {
			g.adm.Close()
		}
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, in := range g.members {
		in.retire()
	}
}

// follow takes inputs from the source for as long as the gateway lives.
func (g *Gateway) follow() {
	pause := 50 * time.Millisecond
	for g.ctx.Err() == nil {
		began := time.Now()
		err := g.o.Source.Watch(g.ctx, g.take, g.heard)
		if g.ctx.Err() != nil {
			return
		}
		g.log.Warn("the source of routes is gone: routing by the table held", "version", g.Version(), "error", err)
		if time.Since(began) > 5*time.Second {
			pause = 50 * time.Millisecond
		}
		select {
		case <-g.ctx.Done():
		case <-time.After(pause):
		}
		pause = min(2*pause, 2*time.Second)
	}
}

// ackEvery is how often a gateway is heard of while nothing changes.
const ackEvery = 4 * time.Second

// acknowledge tells the source the newest version routed by; only the newest matters.
func (g *Gateway) acknowledge() {
	again := time.NewTicker(ackEvery)
	defer again.Stop()
	for {
		select {
		case <-g.ctx.Done():
			return
		case <-g.acks:
		case <-again.C:
		}
		version := g.Version()
		ctx, cancel := context.WithTimeout(g.ctx, 2*time.Second)
		err := g.o.Source.Ack(ctx, version)
		cancel()
		if err == nil || g.ctx.Err() != nil {
			continue
		}
		g.log.Debug("version not acknowledged", "version", version, "error", err)
		select {
		case <-g.ctx.Done():
			return
		case <-time.After(200 * time.Millisecond):
			poke(g.acks)
		}
	}
}

func poke(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// at places a moment on the gateway's own monotonic clock, in nanoseconds.
func (g *Gateway) at(t time.Time) int64 { return int64(t.Sub(g.began)) }
