package app

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	clientv3 "go.etcd.io/etcd/client/v3"
	"golang.org/x/sync/errgroup"

	"perdure/internal/api"
	"perdure/internal/client"
	"perdure/internal/controller"
	"perdure/internal/errs"
	"perdure/internal/estate"
	"perdure/internal/etcdnode"
	"perdure/internal/manifest"
	"perdure/internal/notary"
	"perdure/internal/pki"
	"perdure/internal/preflight"
	"perdure/internal/registrar"
	"perdure/internal/resource"
	"perdure/internal/run"
	"perdure/internal/runner"
	"perdure/internal/scheduler"
	"perdure/internal/store"
	"perdure/internal/unit"
	"perdure/internal/wire"
)

// Defaults of the embedded store's timing: an election must fit into the time in which an owner's silence is judged.
const (
	defaultHeartbeat = 60 * time.Millisecond
	defaultElection  = 600 * time.Millisecond
	defaultQuota     = 256 << 20
)

// partOverWithin is how long a node whose store member ended may take to learn from the others whether its part is over.
const partOverWithin = 10 * time.Second

// RunNode is one member of the control plane until ctx ends: store, API and controller.
func RunNode(ctx context.Context, c NodeConfig) error { return c.run(ctx, nil) }

// run is a node, with drivers that take the places of the product's own.
func (c NodeConfig) run(ctx context.Context, instead resource.Set) error {
	p, err := c.begin(os.Stderr)
	if err != nil {
		return err
	}
	people, err := c.OIDC.provider()
	if err != nil {
		return err
	}
	go p.mindCertificates(ctx)
	member, err := c.startStore(ctx, p)
	if ctx.Err() != nil && member == nil {
		return nil
	}
	if err != nil {
		return err
	}
	defer member.Stop()

	peers, err := newPeers(p, c)
	if err != nil {
		return err
	}
	var may permission
	st := store.New(member.Client(), store.Options{
		Node: c.Name, HasLeader: member.HasLeader, Logger: p.log,
		MayAct: func() error { return may.MayAct() },
	})
	// What this member has of the store may say already that the node cannot be of this version; else it is found out with the others.
	if err := st.LearnFormat(ctx, c.formats(), wire.Local); run.Newer(err) {
		return err
	}
	standing, err := etcdnode.NewStanding(etcdnode.StandingOptions{
		Self: c.Name, Peers: peers.names(), Dir: c.DataDir, HasLeader: member.HasLeader, IsLeader: member.IsLeader, HandOver: member.HandOver, Logger: p.log,
		Ask: peers.standing,
		Own: func(ctx context.Context) (estate.Incarnation, error) {
			i, err := st.Incarnation(ctx, wire.Local)
			return i.Incarnation, err
		},
	})
	if err != nil {
		return err
	}
	// Nobody knows who leads an external store: there every node lets the log grow and starts what is due, and all but the first find it done.
	leads := member.IsLeader
	if len(c.Store.External) > 0 {
		leads = nil
	}
	versions := registrar.New(st, registrar.Options{Self: c.formats(), Members: c.members(member), IsLeader: leads, MayAct: standing.MayAct, Logger: p.log})
	may = permission{standing, versions}
	machines, err := p.machineClient()
	if err != nil {
		return err
	}
	control := controller.New(st.Quorum(), peers, receipts{client: machines, gateways: c.Gateways}, controller.Options{
		Node: c.Name, Timing: unit.DefaultTiming(), Client: machines, MayAct: may.MayAct, Logger: p.log,
	})
	notes, err := notary.New(st, notary.Options{Node: c.Name, Dir: c.DataDir, IsLeader: leads, MayAct: may.MayAct, Logger: p.log})
	if err != nil {
		return err
	}
	serverTLS, err := p.files.ServerTLS(false)
	if err != nil {
		return err
	}
	orders := resource.Orders{Book: st, Owners: control, By: "node:" + c.Name}
	switches := switcher{Controller: control, store: st, orders: orders}
	drivers := resource.Set{"unit": resource.Units{Switcher: switches}, "sandbox": resource.Sandboxes{Sandboxer: switches, Files: st, By: "node:" + c.Name}, "archive": resource.Archives{Archiver: control}, "orders": orders, "notify": resource.Notes{Log: p.log}}
	maps.Copy(drivers, instead)
	drivers = (&tenancy{store: st}).keep(drivers)
	metrics := prometheus.NewRegistry()
	used := func(of func(wire.StoreStatus) int64) func() float64 {
		return func() float64 {
			short, cancel := context.WithTimeout(ctx, time.Second)
			defer cancel()
			return float64(of(member.Status(short)))
		}
	}
	metrics.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "perdure_journal_format", Help: "Format in which this node writes journals of runs."}, func() float64 { return float64(st.JournalFormat()) }),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "perdure_journal_format_newest", Help: "Newest format of journals that this node's program reads."}, func() float64 { return float64(run.Newest) }),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "perdure_store_bytes", Help: "Size of the control store's file on this node."}, used(func(s wire.StoreStatus) int64 { return s.Bytes })),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "perdure_store_quota_bytes", Help: "The most that the control store's file may grow to; 0: not known."}, used(func(s wire.StoreStatus) int64 { return s.Quota })))
	deps := api.Deps{
		Store: st, Member: member, Standing: may, Manifests: manifests{}, Plans: manifests{}, Evidence: notes, Switcher: switches, Silences: control, Orders: orders, Foresight: preflight.New(st, drivers),
		Gather: metrics, Register: metrics, Logger: p.log,
	}
	if people != nil {
		defer people.Close()
		deps.SignOn = people
	}
	server, err := api.New(deps, api.Options{Node: c.Name, Version: Version, Listen: c.Listen, TLS: serverTLS})
	if err != nil {
		return err
	}
	if err := server.Start(); err != nil {
		return err
	}
	p.log.Info("node serves", "node", c.Name, "site", c.Site, "address", server.Addr())

	group, ctx := errgroup.WithContext(ctx)
	acting, stopActing := context.WithCancel(ctx)
	defer stopActing()
	act := func(run func(context.Context) error) {
		group.Go(func() error {
			if err := run(acting); acting.Err() == nil {
				return err
			}
			return nil
		})
	}
	group.Go(func() error { return standing.Run(ctx) })
	act(versions.Run)
	act(member.Promote)
	act(control.Run)
	act(notes.Run)
	act(runner.New(runs{st.Runners()}, drivers, runner.Options{Node: c.Name, Logger: p.log}).Run)
	act(scheduler.New(st, manifests{}, scheduler.Options{Node: c.Name, IsLeader: leads, MayAct: may.MayAct, Spare: func(ctx context.Context) error { return member.Status(ctx).Spare() }, Logger: p.log}).Run)
	act(preflight.NewWatcher(st, manifests{}, drivers, preflight.Options{Node: c.Name, IsLeader: leads, MayAct: may.MayAct, Register: metrics, Logger: p.log}).Run)
	act(func(ctx context.Context) error { return c.bootstrap(ctx, st, p.log) })
	group.Go(func() error {
		select {
		case <-member.Stopped():
			stopActing()
			return c.outlive(ctx, standing, peers, p.log)
		case <-ctx.Done():
			return nil
		}
	})
	group.Go(func() error {
		<-ctx.Done()
		short, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		defer cancel()
		return server.Stop(short)
	})
	if err := group.Wait(); err != nil && !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}

// permission is what a node may do: as it stands among its peers, and once it has said what its program reads.
type permission struct {
	*etcdnode.Standing
	versions *registrar.Registrar
}

// MayAct says why the node may decide nothing now, nil where it may.
func (p permission) MayAct() error {
	if err := p.Standing.MayAct(); err != nil {
		return err
	}
	return p.versions.MayAct()
}

// formats are what this program reads.
func (c NodeConfig) formats() wire.NodeFormats {
	return wire.NodeFormats{Node: c.Name, Version: Version, Oldest: run.Oldest, Newest: run.Newest}
}

// members gives the names of those who have to read what is written: the members of the embedded store, or the nodes that are configured beside an
// external one.
func (c NodeConfig) members(member *etcdnode.Node) func(context.Context) []string {
	return func(ctx context.Context) []string {
		var names []string
		if len(c.Store.External) > 0 {
			for _, n := range c.Nodes {
				names = append(names, n.Name)
			}
			return names
		}
		for _, m := range member.Status(ctx).Members {
			names = append(names, m.Name)
		}
		return names
	}
}

// runs is the store as the runner sees it.
type runs struct{ store.Runners }

// Claim takes the right to carry out a run; nil: another node has it.
func (r runs) Claim(ctx context.Context, id string) (runner.Claim, error) {
	held, err := r.Runners.Claim(ctx, id)
	if held == nil {
		return nil, err
	}
	return held, nil
}

// outlive decides what becomes of a node whose store member ended by itself. One whose part in the estate is over stays up and says
// so until ctx ends: ending the process would only have it restarted, again and again. For any other reason the node ends.
func (c NodeConfig) outlive(ctx context.Context, standing *etcdnode.Standing, peers *peers, log *slog.Logger) error {
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for limit := time.After(partOverWithin); ; {
		if own, _ := standing.View(); own.Superseded == nil && peers.without(ctx, c.Name, own.Incarnation) {
			standing.Remove()
		}
		if err := standing.Over(); err != nil {
			log.Error("the store member has ended; the node stays up to say why", "reason", err)
			<-ctx.Done()
			return nil
		}
		select {
		case <-ctx.Done():
			return nil
		case <-limit:
			return errs.New(errs.Unavailable, "the store member %s ended by itself: its log says why", c.Name)
		case <-tick.C:
		}
	}
}

// bootstrap begins the incarnation of a new estate and its first admin token, as soon as the store has a quorum.
func (c NodeConfig) bootstrap(ctx context.Context, st *store.Store, log *slog.Logger) error {
	for {
		_, err := st.EnsureIncarnation(ctx)
		if err == nil && c.AdminToken != "" {
			_, err = st.BootstrapToken(ctx, c.AdminToken)
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err == nil {
			return nil
		}
		if errs.KindOf(err) == errs.Invalid {
			return err
		}
		log.Debug("waiting for the store", "err", err)
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(200 * time.Millisecond):
		}
	}
}

func (c NodeConfig) storeOptions(p process) etcdnode.Options {
	o := etcdnode.Options{
		Name: c.Name, Dir: c.DataDir, ListenPeer: c.Store.ListenPeer, ListenClient: c.Store.ListenClient,
		Peer: p.files, Client: p.files, Heartbeat: c.Store.Heartbeat, Election: c.Store.Election, Quota: c.Store.QuotaBytes,
		Join: c.Store.Join, Logger: p.log,
	}
	if o.Heartbeat == 0 {
		o.Heartbeat = defaultHeartbeat
	}
	if o.Election == 0 {
		o.Election = defaultElection
	}
	if o.Quota == 0 {
		o.Quota = defaultQuota
	}
	for name, peer := range c.Store.Members {
		o.Members = append(o.Members, etcdnode.Member{Name: name, PeerURL: peer})
	}
	slices.SortFunc(o.Members, func(a, b etcdnode.Member) int {
		if a.Name < b.Name {
			return -1
		}
		return 1
	})
	return o
}

// startStore starts the embedded store, or waits until ctx ends for an external one that asks for a password and does not answer yet.
func (c NodeConfig) startStore(ctx context.Context, p process) (*etcdnode.Node, error) {
	if len(c.Store.External) == 0 {
		return etcdnode.Start(c.storeOptions(p))
	}
	for {
		member, err := c.Store.connect(p)
		if errs.KindOf(err) != errs.Unavailable {
			return member, err
		}
		p.log.Error("the node cannot begin before its external store answers; it tries again", "err", err)
		select {
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-time.After(time.Second):
		}
	}
}

// connect prepares the connection to the external etcd.
func (s Store) connect(p process) (*etcdnode.Node, error) {
	x := etcdnode.External{Endpoints: s.External, TLS: p.files, Username: s.ExternalUser, Logger: p.log}
	if t := s.ExternalTLS; t != (TLS{}) {
		x.TLS = pki.Files{CA: t.CA, Cert: t.Cert, Key: t.Key}
	}
	if (s.ExternalUser == "") != (s.ExternalPassword == "") {
		return nil, errs.New(errs.Invalid, "store.externalUser and store.externalPassword go together: a name, and the file of its password")
	}
	if s.ExternalPassword != "" {
		text, err := os.ReadFile(s.ExternalPassword)
		if err != nil {
			return nil, errs.New(errs.Invalid, "cannot read store.externalPassword: %w", err)
		}
		x.Password = strings.TrimRight(string(text), "\r\n")
	}
	return etcdnode.Connect(x)
}

// RecoverNode makes the store of this one surviving node an estate of its own, after the majority is lost (I10). The node must not run.
func RecoverNode(ctx context.Context, c NodeConfig, person, reason string) (wire.Incarnation, error) {
	return c.begins(ctx, "recover", person, reason, func(ctx context.Context, o etcdnode.Options, write func(context.Context, *clientv3.Client) error) error {
		return etcdnode.Recover(ctx, o, write)
	})
}

// RestoreNode makes a store from a snapshot file in an empty directory (I10). The node must not run.
func RestoreNode(ctx context.Context, c NodeConfig, file, person, reason string) (wire.Incarnation, error) {
	return c.begins(ctx, "restore", person, reason, func(ctx context.Context, o etcdnode.Options, write func(context.Context, *clientv3.Client) error) error {
		return etcdnode.Restore(ctx, o, file, write)
	})
}

func (c NodeConfig) begins(ctx context.Context, what, person, reason string,
	run func(context.Context, etcdnode.Options, func(context.Context, *clientv3.Client) error) error,
) (wire.Incarnation, error) {
	var began wire.Incarnation
	if person == "" || reason == "" {
		return began, errs.New(errs.Invalid, "cannot %s without the name of a person and a reason: both are kept in the audit log", what)
	}
	p, err := c.begin(io.Discard)
	if err != nil {
		return began, err
	}
	if len(c.Store.External) > 0 {
		return began, errs.New(errs.Invalid, "cannot %s an external store: use its own tools", what)
	}
	if running, err := listen(c.Listen); err != nil {
		return began, errs.New(errs.Conflict, "cannot %s while something listens on %s: stop the node first", what, c.Listen)
	} else {
		_ = running.Close()
	}
	err = run(ctx, c.storeOptions(p), func(ctx context.Context, cl *clientv3.Client) error {
		st := store.New(cl, store.Options{Node: c.Name, Logger: p.log})
		if err := st.LearnFormat(ctx, c.formats(), wire.Fresh); err != nil {
			return err
		}
		began, err = st.Recover(ctx, "person:"+person, what, reason)
		return err
	})
	if err != nil {
		return began, err
	}
	return began, etcdnode.Recovered(c.DataDir, began.Incarnation)
}

// peers are the other nodes of the estate.
type peers struct {
	self    string
	clients map[string]*client.Client
}

func newPeers(p process, c NodeConfig) (*peers, error) {
	out := &peers{self: c.Name, clients: map[string]*client.Client{}}
	for _, peer := range c.Nodes {
		if peer.Name == c.Name {
			continue
		}
		n, err := newNodes(p, []Peer{peer})
		if err != nil {
			return nil, err
		}
		out.clients[peer.Name] = n.c
	}
	return out, nil
}

func (p *peers) names() []string {
	var names []string
	for name := range p.clients {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

func (p *peers) standing(ctx context.Context, peer string) (wire.Standing, error) {
	return p.clients[peer].Standing(ctx)
}

// without reports whether a node of the incarnation that has a quorum no longer counts the named one among the store's members.
func (p *peers) without(ctx context.Context, name string, own estate.Incarnation) bool {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	var (
		gone atomic.Bool
		wg   sync.WaitGroup
	)
	for _, c := range p.clients {
		wg.Go(func() {
			e, err := c.Estate(ctx)
			named := slices.ContainsFunc(e.Store.Members, func(m wire.StoreMember) bool { return m.Name == name })
			if err == nil && e.Standing.Incarnation == own && e.Store.Quorum && len(e.Store.Members) > 0 && !named {
				gone.Store(true)
			}
		})
	}
	wg.Wait()
	return gone.Load()
}

// Count is how many nodes are configured, this one included.
func (p *peers) Count() int { return len(p.clients) + 1 }

// Silences asks every other node at once.
func (p *peers) Silences(ctx context.Context, group estate.GroupID) []wire.Silence {
	var (
		mu    sync.Mutex
		found []wire.Silence
		wg    sync.WaitGroup
	)
	for _, c := range p.clients {
		wg.Go(func() {
			s, err := c.Silence(ctx, group)
			if err != nil {
				return
			}
			mu.Lock()
			defer mu.Unlock()
			found = append(found, s)
		})
	}
	wg.Wait()
	return found
}

// switcher is the controller with what it needs of the manifest.
type switcher struct {
	*controller.Controller
	store  *store.Store
	orders resource.Orders
}

// Forecast says what a switch would take, with what would serve the unit there.
func (s switcher) Forecast(ctx context.Context, person string, id estate.UnitID, request wire.SwitchRequest) (wire.SwitchAnswer, error) {
	request.DryRun = true
	answer, err := s.Controller.Switch(ctx, person, id, request)
	if err == nil {
		check, _ := s.served(ctx, id, request.To)
		answer.Checks = append(answer.Checks, check)
		if request.Mode == unit.SwitchBack {
			answer.Checks = append(answer.Checks, s.reconciled(ctx, id))
		}
	}
	return answer, err
}

// Start starts a run that begins with a switch.
func (s switcher) Start(ctx context.Context, person string, id estate.UnitID, request wire.SwitchRequest, start wire.RunStart) (wire.SwitchAnswer, error) {
	if err := s.serves(ctx, id, request); err != nil {
		return wire.SwitchAnswer{}, err
	}
	return s.Controller.Start(ctx, person, id, request, start)
}

// Switch is a switch as a step of a run.
func (s switcher) Switch(ctx context.Context, person string, id estate.UnitID, request wire.SwitchRequest) (wire.SwitchAnswer, error) {
	if err := s.serves(ctx, id, request); err != nil {
		return wire.SwitchAnswer{}, err
	}
	return s.Controller.Switch(ctx, person, id, request)
}

// serves looks, beside the controller's own checks, whether anybody would serve the unit where it goes. A planned switch to a site without
// its application is refused; in an emergency people decide, and are told.
func (s switcher) serves(ctx context.Context, id estate.UnitID, request wire.SwitchRequest) error {
	check, known := s.served(ctx, id, request.To)
	if known && !check.OK && request.Mode != unit.Emergency {
		return errs.New(errs.Refused, "cannot switch %s to %s: %s", id, request.To, check.Detail)
	}
	if request.Mode == unit.SwitchBack { // a unit goes home when every order that was held is accounted for; an emergency waits for none
		if err := s.orders.Settled(ctx, id); err != nil {
			return errs.New(errs.KindOf(err), "cannot switch %s back to %s: %w", id, request.To, err)
		}
	}
	return nil
}

// reconciled says in a forecast whether a unit may go home.
func (s switcher) reconciled(ctx context.Context, id estate.UnitID) wire.Check {
	if err := s.orders.Settled(ctx, id); err != nil {
		return wire.Check{Name: "held orders", Detail: err.Error()}
	}
	return wire.Check{Name: "held orders", OK: true, Detail: "none is open"}
}

// served looks whether anybody would serve the unit at a site. known is false where that cannot be read now: it stands in nobody's way.
func (s switcher) served(ctx context.Context, id estate.UnitID, to estate.SiteID) (check wire.Check, known bool) {
	m, unread := s.store.Manifest(ctx, wire.Local)
	instances, also := s.store.Instances(ctx, wire.Local)
	set, _ := manifest.Known(manifest.File{Name: "applied manifest", Text: []byte(m.Text)})
	check = served(set, id, to, instances)
	if unread != nil || also != nil {
		return wire.Check{Name: check.Name, Detail: "what is deployed at site " + string(to) + " cannot be read now"}, false
	}
	return check, true
}

// practised fills in what the manifest says of drills on a unit: the system's own query, its test accounts, and its transaction.
func practised(set manifest.Set, id estate.UnitID, ask wire.SandboxRequest) (wire.SandboxRequest, error) {
	system, u := set.Unit(id)
	if system == nil {
		return ask, nil
	}
	switch ask.Do {
	case wire.SandboxOpen: // one database carries all units of a group
		ask.Accounts = strings.Join(system.Drill.Accounts, "\n")
	case wire.SandboxTransact:
		if system.Drill.Transaction == "" {
			return ask, errs.New(errs.Invalid, "cannot carry out test transactions of %s: the manifest of system %s names none (drill.transaction)", id, system.Name)
		}
		own, err := system.TestAccounts(u.Name)
		if err != nil {
			return ask, err
		}
		ask.Unit, ask.Transaction, ask.Accounts, ask.Query = id, system.Drill.Transaction, strings.Join(own, "\n"), system.Verify
	case wire.SandboxVerify:
		ask.Query = system.Verify
	case wire.SandboxMask:
		if len(system.Drill.Mask) == 0 {
			return ask, errs.New(errs.Invalid, "cannot mask the sandbox of %s: the manifest of system %s declares nothing (drill.mask)", id, system.Name)
		}
		return masked(ask, system)
	case wire.SandboxShow:
		if len(system.Drill.Show) == 0 {
			return ask, errs.New(errs.Invalid, "cannot show the sandbox of %s: the manifest of system %s declares nothing (drill.show)", id, system.Name)
		}
		return masked(ask, system)
	case wire.SandboxLook, wire.SandboxClone, wire.SandboxDiscard:
	}
	return ask, nil
}

// masked fills in what is masked, and where it is asked for what is shown.
func masked(ask wire.SandboxRequest, system *manifest.System) (wire.SandboxRequest, error) {
	masks, err := json.Marshal(system.Drill.Mask)
	if err != nil {
		return ask, err
	}
	ask.Masks = string(masks)
	if ask.Do == wire.SandboxShow {
		shows, err := json.Marshal(system.Drill.Show)
		if err != nil {
			return ask, err
		}
		ask.Shows = string(shows)
	}
	return ask, nil
}

// Sandbox asks about the sandbox of a unit's copy; its accounts are judged by the system's own query.
func (s switcher) Sandbox(ctx context.Context, id estate.UnitID, site estate.SiteID, ask wire.SandboxRequest) (wire.SandboxAnswer, error) {
	switch ask.Do {
	case wire.SandboxOpen, wire.SandboxTransact, wire.SandboxVerify, wire.SandboxMask, wire.SandboxShow:
		m, err := s.store.Manifest(ctx, wire.Local)
		if err != nil {
			return wire.SandboxAnswer{}, err
		}
		set, _ := manifest.Known(manifest.File{Name: "applied manifest", Text: []byte(m.Text)})
		if ask, err = practised(set, id, ask); err != nil {
			return wire.SandboxAnswer{}, err
		}
	case wire.SandboxLook, wire.SandboxClone, wire.SandboxDiscard:
	}
	return s.Controller.Sandbox(ctx, id, site, ask)
}

// Verify judges the accounts of a unit by its system's own query.
func (s switcher) Verify(ctx context.Context, person string, id estate.UnitID, lostAt time.Time) (wire.VerifyAnswer, error) {
	m, err := s.store.Manifest(ctx, wire.Local)
	if err != nil {
		return wire.VerifyAnswer{}, err
	}
	set, _ := manifest.Known(manifest.File{Name: "applied manifest", Text: []byte(m.Text)})
	system, _ := set.Unit(id)
	if system == nil {
		return wire.VerifyAnswer{}, errs.New(errs.NotFound, "the manifest has no unit %q", id)
	}
	if system.Verify == "" {
		return wire.VerifyAnswer{}, errs.New(errs.Invalid, "system %s names no query in field verify: without it accounts are judged by people alone", system.Name)
	}
	return s.Controller.Verify(ctx, person, id, system.Verify, lostAt)
}
