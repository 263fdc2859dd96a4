package site

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"maps"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"perdure/internal/app"
	"perdure/internal/errs"
	"perdure/internal/estate"
	"perdure/internal/lab/link"
	"perdure/internal/manifest"
	"perdure/internal/pki"
)

// validity is how long a lab's certificates are valid; a lab that is kept longer is laid out anew.
const validity = 30 * 24 * time.Hour

// Options say what stands in the configurations beside what the manifest says.
type Options struct {
	// InitSQL gives the SQL files of a group that run once when its database is made.
	InitSQL map[estate.GroupID][]string
	// PostgresBin is where PostgreSQL's programs are.
	PostgresBin string
	// Settings are settings of every PostgreSQL server.
	Settings map[string]string
	// LogLevel of all processes.
	LogLevel string
	Now      time.Time
}

// Write writes everything that the estate's processes read. The directories must be empty or not be there.
func (l *Layout) Write(o Options) error {
	ca, err := pki.NewAuthority("perdure lab", o.Now, validity)
	if err != nil {
		return err
	}
	w := &writer{Layout: l, o: o, ca: ca}
	for _, dir := range []string{l.Dir, l.Data, filepath.Join(l.Dir, "log"), filepath.Join(l.Dir, "people")} {
		// Database servers run under a user of their own and have to get through.
		w.dir(dir, 0o711)
	}
	w.file(filepath.Join(l.Dir, "ca.crt"), ca.Pair().Cert, 0o644)
	w.file(filepath.Join(l.Dir, "ca.key"), ca.Pair().Key, 0o600)
	w.file(filepath.Join(l.Dir, "manifest.yaml"), manifest.Export(l.Set), 0o644)
	w.secrets()
	for n, s := range l.Sites {
		w.dir(filepath.Join(l.Dir, string(s)), 0o711)
		w.dir(filepath.Join(l.Data, string(s)), 0o711)
		w.file(l.HostsFile(s), l.hostsText(n+1), 0o644)
	}
	w.file(filepath.Join(l.Dir, "hosts"), l.hostsText(0), 0o644)
	w.yaml(l.OperatorFile(), l.operator())
	for _, p := range l.Processes {
		w.process(p)
	}
	return w.err
}

// writer keeps the first error.
type writer struct {
	*Layout
	o   Options
	ca  *pki.Authority
	err error
}

func (w *writer) dir(path string, mode os.FileMode) {
	if w.err != nil {
		return
	}
	if err := os.MkdirAll(path, mode); err != nil {
		w.err = errs.New(errs.Unavailable, "cannot lay out the estate: %w", err)
		return
	}
	_ = os.Chmod(path, mode) // whatever the umask
}

func (w *writer) file(path string, text []byte, mode os.FileMode) {
	if w.err != nil {
		return
	}
	if err := os.WriteFile(path, text, mode); err != nil {
		w.err = errs.New(errs.Unavailable, "cannot lay out the estate: %w", err)
	}
}

func (w *writer) yaml(path string, v any) {
	if w.err != nil {
		return
	}
	text, err := yaml.Marshal(v)
	if err != nil {
		w.err = errs.New(errs.Internal, "cannot write %s: %w", path, err)
		return
	}
	w.file(path, text, 0o644)
}

// HostsFile is the site's own view of names.
func (l *Layout) HostsFile(s estate.SiteID) string { return filepath.Join(l.Dir, string(s), "hosts") }

// OperatorFile says to the command line how to reach the estate, and as whom.
func (l *Layout) OperatorFile() string { return filepath.Join(l.Dir, "operator.yaml") }

// TokenFile is where the token of a person is kept.
func (l *Layout) TokenFile(person string) string {
	return filepath.Join(l.Dir, "people", person+".token")
}

// Hosts is the view of names of a site, or (0) of somebody who stands beside each host.
func (l *Layout) Hosts(viewer int) map[string]string {
	view := make(map[string]string, len(l.hosts))
	for host, n := range l.hosts {
		from := viewer
		if from == 0 {
			from = n
		}
		view[host] = link.Addr(l.Lab, from, n).String()
	}
	return view
}

func (l *Layout) hostsText(viewer int) []byte {
	view := l.Hosts(viewer)
	var b strings.Builder
	for _, host := range slices.Sorted(maps.Keys(view)) {
		fmt.Fprintf(&b, "%s %s\n", view[host], host)
	}
	return []byte(b.String())
}

// operatorFile is what the command line reads as its context.
type operatorFile struct {
	Endpoints []string `yaml:"endpoints"`
	CA        string   `yaml:"ca"`
	Token     string   `yaml:"token"`
	Hosts     string   `yaml:"hosts"`
}

// Operator is the person that the lab itself acts as, and that its context names.
const Operator = "operator"

func (l *Layout) operator() operatorFile {
	o := operatorFile{CA: "ca.crt", Token: filepath.Join("people", Operator+".token"), Hosts: "hosts"}
	for _, p := range l.Of(Node) {
		o.Endpoints = append(o.Endpoints, p.nodeURL())
	}
	return o
}

func (p Process) nodeURL() string { return fmt.Sprintf("https://%s:%d", p.node.Host, p.node.API) }

// NodeURL is where a node's API is, "" for other processes.
func (p Process) NodeURL() string {
	if p.node == nil {
		return ""
	}
	return p.nodeURL()
}

// TrafficURL is where a gateway takes traffic, "" for other processes.
func (p Process) TrafficURL() string {
	if p.gateway == nil {
		return ""
	}
	return fmt.Sprintf("http://%s:%d", p.gateway.Host, p.gateway.Port)
}

// Member is the member an agent looks after, "" for other processes.
func (p Process) Member() estate.MemberID {
	if p.member == nil {
		return ""
	}
	return p.member.ID
}

// Group is the replication group of an agent's member, "" for other processes.
func (p Process) Group() estate.GroupID {
	if p.group == nil {
		return ""
	}
	return p.group.Name
}

// AdminToken is where the estate's first token is left.
func (l *Layout) AdminToken() string { return l.TokenFile("admin") }

// AppPassword is the file of the password that applications log in with.
func (l *Layout) AppPassword() string { return filepath.Join(l.Dir, "app.password") }

func (l *Layout) groupSecret(g estate.GroupID) string {
	return filepath.Join(l.Dir, "replication-"+string(g)+".secret")
}

func (w *writer) secrets() {
	w.file(w.AppPassword(), secret(), 0o600)
	for _, s := range w.Set.Systems {
		for _, g := range s.Groups {
			w.file(w.groupSecret(g.Name), secret(), 0o600)
		}
	}
}

func secret() []byte {
	var random [24]byte
	_, _ = rand.Read(random[:])
	return []byte(hex.EncodeToString(random[:]) + "\n")
}

// process writes the certificate and the configuration of one process.
func (w *writer) process(p Process) {
	if w.err != nil {
		return
	}
	w.dir(p.Dir, 0o711)
	common := app.Common{
		Name: strings.SplitN(p.identity, ":", 2)[1], Site: string(p.Site), DataDir: p.Dir, Hosts: w.HostsFile(p.Site), Nodes: w.nodes(p.Site), LogLevel: w.o.LogLevel,
		TLS: w.certificate(p),
	}
	switch p.Kind {
	case Node:
		w.yaml(p.Config, w.nodeConfig(p, common))
	case Gateway:
		w.yaml(p.Config, app.GatewayConfig{
			Common: common, Listen: w.listen(p, p.gateway.Port), Admin: w.listen(p, p.gateway.Admin), Gateways: w.gateways(p.Site, p.Name),
		})
	case Agent:
		w.yaml(p.Config, w.agentConfig(p, common))
	case App:
		w.yaml(p.Config, w.appConfig(p, common))
	case Postgres:
	}
}

// listen is the real address of a port of the process's site.
func (l *Layout) listen(p Process, port int) string {
	return net.JoinHostPort(l.address(p.Site), strconv.Itoa(port))
}

func (l *Layout) address(s estate.SiteID) string {
	n := l.Number(s)
	return link.Addr(l.Lab, n, n).String()
}

func (w *writer) certificate(p Process) app.TLS {
	n := w.Number(p.Site)
	request := pki.Request{CommonName: p.identity, Server: true, Client: true, Validity: validity}
	for host, site := range w.hosts {
		if site == n {
			request.DNS = append(request.DNS, host)
		}
	}
	slices.Sort(request.DNS)
	if p.Kind == Node {
		request.DNS = append(request.DNS, pki.NodeDNS)
	}
	for viewer := range w.Sites {
		request.IPs = append(request.IPs, link.Addr(w.Lab, viewer+1, n).AsSlice())
	}
	dir := filepath.Join(w.Dir, string(p.Site), "tls")
	files := pki.FilesIn(dir, p.files)
	pair, err := w.ca.Issue(request, w.o.Now)
	if err == nil {
		err = files.Write(pair, w.ca.Pair().Cert)
	}
	if err != nil && w.err == nil {
		w.err = err
	}
	return app.TLS{CA: files.CA, Cert: files.Cert, Key: files.Key}
}

// nearest orders processes by site: the own one first, then the same city's, then the others.
func (l *Layout) nearest(from estate.SiteID, all []Process) []Process {
	city := func(s estate.SiteID) string { return l.Set.Sites[l.Number(s)-1].City }
	rank := func(p Process) int {
		switch {
		case p.Site == from:
			return 0
		case city(p.Site) == city(from):
			return 1
		}
		return 2
	}
	all = slices.Clone(all)
	slices.SortStableFunc(all, func(a, b Process) int { return rank(a) - rank(b) })
	return all
}

// Gateways lists the addresses of all gateways as clients at the site try them: the nearest first.
func (l *Layout) Gateways(from estate.SiteID) []string {
	var all []string
	for _, p := range l.nearest(from, l.Of(Gateway)) {
		all = append(all, p.TrafficURL())
	}
	return all
}

func (l *Layout) nodes(from estate.SiteID) []app.Peer {
	var peers []app.Peer
	for _, p := range l.nearest(from, l.Of(Node)) {
		peers = append(peers, app.Peer{Name: p.node.Name, Site: string(p.Site), URL: p.nodeURL()})
	}
	return peers
}

// gateways lists the administration ports of all gateways but one.
func (l *Layout) gateways(from estate.SiteID, but string) []app.Peer {
	var peers []app.Peer
	for _, p := range l.nearest(from, l.Of(Gateway)) {
		if p.Name != but {
			peers = append(peers, app.Peer{Name: p.gateway.Name, Site: string(p.Site), URL: fmt.Sprintf("https://%s:%d", p.gateway.Host, p.gateway.Admin)})
		}
	}
	return peers
}

func (w *writer) nodeConfig(p Process, common app.Common) app.NodeConfig {
	c := app.NodeConfig{
		Common: common, Listen: w.listen(p, p.node.API), Gateways: w.gateways(p.Site, ""), AdminToken: w.AdminToken(),
		Store: app.Store{ListenPeer: w.listen(p, p.node.Peer), ListenClient: w.listen(p, p.node.Client), Members: map[string]string{}},
	}
	for _, other := range w.Of(Node) {
		c.Store.Members[other.node.Name] = fmt.Sprintf("https://%s:%d", other.node.Host, other.node.Peer)
	}
	return c
}

func (w *writer) agentConfig(p Process, common app.Common) app.AgentConfig {
	return app.AgentConfig{
		Common: common, Group: string(p.group.Name), Listen: w.listen(p, p.member.Agent.Port),
		Postgres: app.Postgres{
			Bin: w.o.PostgresBin, Listen: w.address(p.Site), Port: p.member.Database.Port, ReplicationSecret: w.groupSecret(p.group.Name), AppPasswordFile: w.AppPassword(),
			InitSQL: w.o.InitSQL[p.group.Name], Settings: w.o.Settings,
		},
	}
}
