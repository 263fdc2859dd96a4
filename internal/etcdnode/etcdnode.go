// Package etcdnode is a node's member of the control-plane store: an embedded etcd member, or a connection to an external etcd.
// It also keeps a node's standing among its peers: whether it came up cold, and whether a higher incarnation superseded it (I10).
//
// The caller's duties: Stop what Start or Connect returned; call Recover and Restore only while no member runs in the directory,
// and give them the function that writes the new incarnation before anything else can be written.
package etcdnode

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"go.etcd.io/etcd/client/pkg/v3/transport"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/server/v3/embed"
	"go.uber.org/zap"

	"perdure/internal/errs"
	"perdure/internal/pki"
)

// Limits of the embedded store. A transaction touches every group after a recovery, hence many operations.
const (
	maxTransactionOps = 32768
	maxRequestBytes   = 16 << 20
	defaultQuota      = 2 << 30
	// compactAfter is how far back a watcher may resume without a snapshot.
	compactAfter = "10m"
	// leastElectionBeats is etcd's own limit for election against heartbeat.
	leastElectionBeats = 5
)

// Member is one configured member of the embedded store.
type Member struct {
	Name string
	// PeerURL is where the other members reach it, the same text on every member: it is part of the member's identity.
	PeerURL string
}

// Options configure an embedded member.
type Options struct {
	// Name is this member's; Members are all, this one included: 1, 3 or 5.
	Name    string
	Members []Member
	// Dir is the data directory; the store's files lie in it, mode 0700.
	Dir string
	// ListenPeer and ListenClient are address:port with a literal address; ClientURL is what the member tells others.
	ListenPeer, ListenClient string
	ClientURL                string
	// Peer and Client are the certificates of the two listeners, with pki.NodeDNS among their names; with both zero the member speaks plain HTTP (tests only).
	Peer, Client pki.Files
	// Heartbeat (default 100 ms, 10 ms to 1 s) and Election (default 1 s, 5 heartbeats to 50 s).
	Heartbeat, Election time.Duration
	// Quota is the most bytes the store's file may have (default 2 GiB); beyond it the store refuses to grow (NOSPACE).
	Quota int64
	// Join starts an empty directory as a new member of a running store that has already been told of it (see Grow).
	Join   bool
	Logger *slog.Logger
}

// Node is a member that runs in this process, or a connection to an external store.
type Node struct {
	etcd   *embed.Etcd // nil for an external store
	client *clientv3.Client
	dir    string
	quota  int64
	log    *slog.Logger

	lock    *os.File // of the directory
	guard   guard    // of the embedded member
	die     context.CancelFunc
	closing *atomic.Bool // the member is being stopped
	// external guards what an external store last said of its leader.
	external    sync.Mutex
	askedLeader time.Time
	knownLeader bool

	stop    sync.Once
	stopped chan struct{}
	reason  atomic.Pointer[string]
	watch   sync.WaitGroup
}

// Start starts the member and returns without waiting for a quorum: local reads work at once, everything else
// fails by its deadline until there is one. It fails if a port is taken or the directory cannot be used.
func Start(o Options) (*Node, error) {
	cfg, err := o.config(false)
	if err != nil {
		return nil, err
	}
	return start(cfg, o)
}

func start(cfg *embed.Config, o Options) (n *Node, err error) {
	lock, err := lockDir(o.Dir)
	if err != nil {
		return nil, err
	}
	defer func() {
		if n == nil {
			_ = lock.Close()
		}
	}()
	fatal, closing := &fatalHook{}, &atomic.Bool{}
	fatal.starting.Store(true)
	cfg.ZapLoggerBuilder = embed.NewZapLoggerBuilder(zap.New(&core{log: o.Logger.With("part", "etcd"), closing: closing}, zap.WithFatalHook(fatal)))
	defer func() {
		if p := recover(); p != nil { // etcd ends in panic or Fatal on a directory it cannot use
			n, err = nil, errs.New(errs.Unavailable, "cannot start the store in %s: %v; check the directory and its disk", o.Dir, p)
		}
	}()
	e, err := embed.StartEtcd(cfg)
	if err != nil {
		return nil, errs.New(errs.Unavailable, "cannot start the store member %s: %w", o.Name, err)
	}
	fatal.starting.Store(false)
	live, die := context.WithCancel(context.Background())
	n = &Node{etcd: e, lock: lock, closing: closing, die: die, guard: guard{e.Server, live}, client: inProcess(e.Server, live), dir: o.Dir, quota: cfg.QuotaBackendBytes, log: o.Logger, stopped: make(chan struct{})}
	n.watch.Go(n.noteEnd)
	return n, nil
}

// noteEnd waits for the member's end, ends whoever uses it, and keeps why it ended.
func (n *Node) noteEnd() {
	var reason string
	select {
	case err := <-n.etcd.Err():
		if err != nil {
			reason = err.Error()
		}
	case <-n.etcd.Server.StoppingNotify():
	}
	n.die()
	_ = n.client.Close() // ends the watches; its only error is the end of its own context
	if reason == "" {
		reason = "the member stopped"
	}
	n.reason.CompareAndSwap(nil, &reason)
	close(n.stopped)
}

// Stopped is closed when the embedded member has ended, asked or not: a removed member ends by itself.
// It never closes for an external store.
func (n *Node) Stopped() <-chan struct{} { return n.stopped }

// Client reaches the store: the embedded member in this process, or the external endpoints.
// Serializable reads and watches are answered by the local member without a quorum.
func (n *Node) Client() *clientv3.Client { return n.client }

// Stop hands the leadership over, stops the member and waits for it. It may be called more than once.
func (n *Node) Stop() {
	n.stop.Do(func() {
		_ = n.client.Close() // its only error is the end of its own context
		if n.etcd != nil {
			n.closing.Store(true)
			asked := "stopped by its node"
			n.reason.CompareAndSwap(nil, &asked)
			// Close alone waits for ever on a member that never became ready; the server goes first.
			n.etcd.Server.Stop()
			n.etcd.Close()
			_ = n.lock.Close()
		}
		n.watch.Wait()
	})
}

// Ready reports whether the member has joined the quorum since it started.
func (n *Node) Ready() bool {
	if n.etcd == nil {
		return true
	}
	select {
	case <-n.etcd.Server.ReadyNotify():
		return true
	default:
		return false
	}
}

// leaderMemory is how long an external store's word about its leader counts.
const leaderMemory = time.Second

// HasLeader reports whether the local member knows a leader now; for an external store, whether an endpoint did lately.
func (n *Node) HasLeader(ctx context.Context) bool {
	if n.etcd != nil {
		select {
		case <-n.stopped:
			return false
		default:
			return n.etcd.Server.Leader() != 0
		}
	}
	n.external.Lock()
	defer n.external.Unlock()
	if time.Since(n.askedLeader) < leaderMemory {
		return n.knownLeader
	}
	n.knownLeader = false
	for _, endpoint := range n.client.Endpoints() {
		if status, err := n.client.Status(ctx, endpoint); err == nil && status.Leader != 0 {
			n.knownLeader = true
			break
		}
	}
	n.askedLeader = time.Now()
	return n.knownLeader
}

// HandOver passes the leadership of the store to another voting member.
func (n *Node) HandOver(ctx context.Context, to string) error {
	if !n.IsLeader() {
		return errs.New(errs.Conflict, "cannot hand the leadership to %s: this member does not lead the store", to)
	}
	for _, m := range n.etcd.Server.Cluster().Members() {
		if m.Name == to && !m.IsLearner {
			return n.etcd.Server.MoveLeader(ctx, uint64(n.etcd.Server.MemberID()), uint64(m.ID))
		}
	}
	return errs.New(errs.NotFound, "cannot hand the leadership to %s: no voting member has that name", to)
}

// IsLeader reports whether the embedded member leads the store.
func (n *Node) IsLeader() bool {
	return n.etcd != nil && n.etcd.Server.Leader() != 0 && n.etcd.Server.Leader() == n.etcd.Server.MemberID()
}

func (o Options) config(forceNew bool) (*embed.Config, error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	cfg := embed.NewConfig()
	cfg.Name, cfg.Dir = o.Name, filepath.Join(o.Dir, "etcd")
	cfg.TickMs, cfg.ElectionMs = uint(o.heartbeat().Milliseconds()), uint(o.election().Milliseconds())
	cfg.PreVote = true
	cfg.QuotaBackendBytes = o.Quota
	if o.Quota == 0 {
		cfg.QuotaBackendBytes = defaultQuota
	}
	// The store's JSON interface calls the member itself without verifying it, and would be refused for ever. Nobody uses it.
	cfg.EnableGRPCGateway = false
	cfg.MaxTxnOps, cfg.MaxRequestBytes = maxTransactionOps, maxRequestBytes
	cfg.AutoCompactionMode, cfg.AutoCompactionRetention = embed.CompactorModePeriodic, compactAfter
	cfg.WatchProgressNotifyInterval = time.Second
	cfg.WarningUnaryRequestDuration = embed.DefaultWarningUnaryRequestDuration
	cfg.ForceNewCluster = forceNew
	cfg.InitialClusterToken = "perdure"
	cfg.ClusterState = embed.ClusterStateFlagNew
	if o.Join {
		cfg.ClusterState = embed.ClusterStateFlagExisting
	}
	scheme := "http"
	if !o.Peer.IsZero() {
		scheme = "https"
		cfg.PeerTLSInfo = tlsInfo(o.Peer)
		cfg.ClientTLSInfo = tlsInfo(o.Client)
	}
	cfg.ListenPeerUrls = []url.URL{{Scheme: scheme, Host: o.ListenPeer}}
	cfg.ListenClientUrls = []url.URL{{Scheme: scheme, Host: o.ListenClient}}
	clientURL := o.ClientURL
	if clientURL == "" {
		clientURL = scheme + "://" + o.ListenClient
	}
	advertised, err := url.Parse(clientURL)
	if err != nil {
		return nil, errs.New(errs.Invalid, "client URL %q of store member %s: %w", clientURL, o.Name, err)
	}
	cfg.AdvertiseClientUrls = []url.URL{*advertised}
	var cluster []string
	for _, m := range o.Members {
		u, err := url.Parse(m.PeerURL)
		if err != nil {
			return nil, errs.New(errs.Invalid, "peer URL %q of store member %s: %w", m.PeerURL, m.Name, err)
		}
		if m.Name == o.Name {
			cfg.AdvertisePeerUrls = []url.URL{*u}
		}
		if !forceNew || m.Name == o.Name {
			cluster = append(cluster, m.Name+"="+m.PeerURL)
		}
	}
	cfg.InitialCluster = strings.Join(cluster, ",")
	return cfg, nil
}

// tlsInfo lets in nodes only, and speaks to nodes only: whoever writes to the store may write every record. They are known by a name
// that all their certificates have, not by a list, because who joins later is in no list of those that run. The address a peer comes
// from is not compared with its certificate: peers come through links that translate addresses.
func tlsInfo(f pki.Files) transport.TLSInfo {
	return transport.TLSInfo{
		CertFile: f.Cert, KeyFile: f.Key, TrustedCAFile: f.CA, ClientCertAuth: true, SkipClientSANVerify: true,
		AllowedHostnames: []string{pki.NodeDNS},
	}
}

func (o Options) heartbeat() time.Duration {
	if o.Heartbeat == 0 {
		return 100 * time.Millisecond
	}
	return o.Heartbeat
}

func (o Options) election() time.Duration {
	if o.Election == 0 {
		return time.Second
	}
	return o.Election
}

// check refuses what cannot work before anything is touched.
func (o Options) check() error {
	if o.Logger == nil || o.Dir == "" || o.Name == "" {
		return errs.New(errs.Invalid, "a store member needs a name, a directory and a logger")
	}
	if n := len(o.Members); !o.Join && n != 1 && n != 3 && n != 5 {
		return errs.New(errs.Invalid, "the control plane has %d members; it must have 1, 3 or 5, since an even number survives no more losses than one less: "+
			"add a witness node in a further site, or take one out", n)
	}
	names, urls := map[string]bool{}, map[string]bool{}
	for _, m := range o.Members {
		if names[m.Name] || urls[m.PeerURL] || m.Name == "" || m.PeerURL == "" {
			return errs.New(errs.Invalid, "store members need names and peer URLs of their own; %q (%s) has not", m.Name, m.PeerURL)
		}
		names[m.Name], urls[m.PeerURL] = true, true
	}
	if !names[o.Name] {
		return errs.New(errs.Invalid, "store member %q is not among the configured members %s", o.Name, strings.Join(o.names(), ", "))
	}
	if h := o.heartbeat(); h < 10*time.Millisecond || h > time.Second {
		return errs.New(errs.Invalid, "heartbeat %s of the store: it must be between 10ms and 1s; 50ms to 100ms is usual", h)
	}
	if e := o.election(); e < leastElectionBeats*o.heartbeat() || e > 50*time.Second {
		return errs.New(errs.Invalid, "election time-out %s of the store: it must be between %s (%d heartbeats) and 50s; 500ms to 1s is usual",
			e, leastElectionBeats*o.heartbeat(), leastElectionBeats)
	}
	if o.Peer.IsZero() != o.Client.IsZero() {
		return errs.New(errs.Invalid, "store member %q needs certificates for both its peer and its client listener", o.Name)
	}
	for _, f := range []pki.Files{o.Peer, o.Client} {
		if f.IsZero() {
			continue
		}
		if err := f.CheckNode(); err != nil {
			return err
		}
	}
	for _, address := range []string{o.ListenPeer, o.ListenClient} {
		host, _, err := net.SplitHostPort(address)
		if err != nil || net.ParseIP(host) == nil {
			return errs.New(errs.Invalid, "store member %q cannot listen on %q: give ADDRESS:PORT with a literal address", o.Name, address)
		}
	}
	return nil
}

func (o Options) names() []string {
	var names []string
	for _, m := range o.Members {
		names = append(names, m.Name)
	}
	slices.Sort(names)
	return names
}

// External configures the connection to an etcd that somebody else runs.
type External struct {
	// Endpoints are the client URLs of its members; at least one.
	Endpoints          []string
	TLS                pki.Files
	Username, Password string
	Logger             *slog.Logger
}

// authenticateWithin bounds the wait for an external store that asks for a password: it hashes it at length, and may be at its limit.
const authenticateWithin = 10 * time.Second

// Connect prepares the connection. Without a user it does not wait for the store to answer; with one it is [errs.Unavailable] when
// the store does not within 10 s, and [errs.Refused] when it does not know the user by that password.
func Connect(x External) (*Node, error) {
	if len(x.Endpoints) == 0 || x.Logger == nil {
		return nil, errs.New(errs.Invalid, "an external store needs at least one endpoint, for example https://etcd-1:2379")
	}
	cfg := clientv3.Config{
		Endpoints: x.Endpoints, Username: x.Username, Password: x.Password,
		DialTimeout: authenticateWithin, DialKeepAliveTime: 2 * time.Second, DialKeepAliveTimeout: 2 * time.Second,
		MaxCallSendMsgSize: maxRequestBytes, MaxCallRecvMsgSize: 512 << 20,
		Logger: zap.New(&core{log: x.Logger.With("part", "etcd-client")}),
	}
	if !x.TLS.IsZero() {
		tlsConfig, err := x.TLS.ClientTLS()
		if err != nil {
			return nil, err
		}
		cfg.TLS = tlsConfig
	}
	client, err := clientv3.New(cfg)
	if errors.Is(err, rpctypes.ErrAuthFailed) {
		return nil, errs.New(errs.Refused, "the external store at %s does not let user %q in: %w", strings.Join(x.Endpoints, ", "), x.Username, err)
	}
	if err != nil {
		return nil, errs.New(errs.Unavailable, "cannot reach the external store at %s: %w", strings.Join(x.Endpoints, ", "), err)
	}
	return &Node{client: client, log: x.Logger, stopped: make(chan struct{})}, nil
}

// String names the node's store for people.
func (n *Node) String() string {
	if n.etcd == nil {
		return fmt.Sprintf("external store at %s", strings.Join(n.client.Endpoints(), ", "))
	}
	return "embedded store in " + n.dir
}
