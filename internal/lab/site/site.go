// Package site lays out an estate on one machine's disk: which processes run at which site, where they listen, what they are called,
// whom they trust. It writes their configurations, hosts files and certificates, and starts nothing.
//
// Everything follows from the estate's manifest: hosts, ports, members and instances stand there. A host belongs to the site that
// declares it; a process of the site with number s reaches the hosts of site d at 127.s.d.n in lab n (see package link).
package site

import (
	"cmp"
	"fmt"
	"net"
	"net/url"
	"path/filepath"
	"slices"
	"strconv"

	"perdure/internal/errs"
	"perdure/internal/estate"
	"perdure/internal/lab/link"
	"perdure/internal/manifest"
)

// Kind is what a process is.
type Kind string

// The closed list of kinds, which are also the names of their groups of ports.
const (
	Node     Kind = "node"
	Gateway  Kind = "gateway"
	App      Kind = "app"
	Agent    Kind = "agent"
	Postgres Kind = "postgres" // ports only: agents run the servers
)

// Process is one process of the estate.
type Process struct {
	// Name is how stories call it: "node-a", "gateway-a", "corebank-a", "agent-u1-a".
	Name string
	Kind Kind
	Site estate.SiteID
	// Config is its configuration file, Dir the directory that is its alone, Log what it prints.
	Config, Dir, Log string
	// identity is the name in its certificate, files the base name of the files of it.
	identity, files string

	node    *manifest.Node
	gateway *manifest.Gateway
	group   *manifest.Group
	member  *manifest.Member
	system  *manifest.System
	address string // of an instance: host:port
}

// Service is a port of a site that others reach.
type Service struct {
	Site int // number of the site
	Port int
	Kind Kind
}

// Layout is an estate on disk.
type Layout struct {
	// Dir is the lab's directory; Data is where databases are, elsewhere when their user cannot reach Dir.
	Dir, Data string
	Set       manifest.Set
	// Lab tells labs on one machine apart.
	Lab int
	// Sites in the order of their numbers, which begin at 1.
	Sites     []estate.SiteID
	Processes []Process
	Services  []Service

	hosts map[string]int // host name → number of its site
}

// Plan finds out what belongs to the estate of the manifest, as lab number 1.
func Plan(dir, data string, set manifest.Set) (*Layout, error) {
	l := &Layout{Lab: 1, Dir: dir, Data: data, Set: set, hosts: map[string]int{}}
	for _, s := range set.Sites {
		l.Sites = append(l.Sites, s.Name)
	}
	if len(l.Sites) == 0 {
		return nil, errs.New(errs.Invalid, "the manifest has no site: nothing can be laid out")
	}
	steps := []func() error{l.planNodes, l.planSystems}
	for _, step := range steps {
		if err := step(); err != nil {
			return nil, err
		}
	}
	seen := map[string]bool{}
	for _, p := range l.Processes {
		if seen[p.Name] {
			return nil, errs.New(errs.Invalid, "two processes would be called %s: give nodes, gateways and systems names of their own", p.Name)
		}
		seen[p.Name] = true
	}
	slices.SortFunc(l.Processes, func(a, b Process) int {
		return cmp.Or(cmp.Compare(l.Number(a.Site), l.Number(b.Site)), cmp.Compare(a.Name, b.Name))
	})
	return l, nil
}

// labsMost bounds how many labs one machine is tried for.
const labsMost = 50

// ChooseLab takes the first lab number whose addresses are all free, so that several labs can run on one machine.
func (l *Layout) ChooseLab() error {
	var first error
	for l.Lab = 1; l.Lab <= labsMost; l.Lab++ {
		err := l.free()
		if err == nil {
			return nil
		}
		if first == nil {
			first = err
		}
	}
	return errs.New(errs.Unavailable, "no addresses are free for the lab: %w", first)
}

// free reports whether every service can listen.
func (l *Layout) free() error {
	for _, s := range l.Services {
		for viewer := range l.Sites {
			at := net.JoinHostPort(link.Addr(l.Lab, viewer+1, s.Site).String(), strconv.Itoa(s.Port))
			listener, err := net.Listen("tcp4", at)
			if err != nil {
				return err
			}
			_ = listener.Close()
		}
	}
	return nil
}

// Number is the number of a site, 0 for one that is not there.
func (l *Layout) Number(s estate.SiteID) int { return slices.Index(l.Sites, s) + 1 }

// Process gives the process with the name.
func (l *Layout) Process(name string) (Process, bool) {
	i := slices.IndexFunc(l.Processes, func(p Process) bool { return p.Name == name })
	if i < 0 {
		return Process{}, false
	}
	return l.Processes[i], true
}

// Of lists the processes of a kind.
func (l *Layout) Of(kind Kind) []Process {
	var some []Process
	for _, p := range l.Processes {
		if p.Kind == kind {
			some = append(some, p)
		}
	}
	return some
}

// Ports lists the ports of a kind, once each.
func (l *Layout) Ports(kind Kind) []int {
	var ports []int
	for _, s := range l.Services {
		if s.Kind == kind {
			ports = append(ports, s.Port)
		}
	}
	slices.Sort(ports)
	return slices.Compact(ports)
}

// DataDir is the database directory of a member.
func (l *Layout) DataDir(member estate.MemberID) (string, bool) {
	for _, p := range l.Of(Agent) {
		if p.member.ID == member {
			return filepath.Join(p.Dir, "data"), true
		}
	}
	return "", false
}

// process adds one, with everything that follows from its name.
func (l *Layout) process(p Process, short string) {
	base := filepath.Join(l.Dir, string(p.Site))
	p.files = p.Name
	p.Config = filepath.Join(base, p.Name+".yaml")
	p.Dir = filepath.Join(base, short)
	if p.Kind == Agent {
		p.Dir = filepath.Join(l.Data, string(p.Site), short)
	}
	p.Log = filepath.Join(l.Dir, "log", p.Name+".log")
	l.Processes = append(l.Processes, p)
}

// host says that a host belongs to a site, and the service that is reached there.
func (l *Layout) host(name string, s estate.SiteID, port int, kind Kind) error {
	n := l.Number(s)
	if other, ok := l.hosts[name]; ok && other != n {
		return errs.New(errs.Invalid, "host %s belongs to site %s and to site %s; in the lab a host lies at one site", name, l.Sites[other-1], s)
	}
	l.hosts[name] = n
	service := Service{Site: n, Port: port, Kind: kind}
	if i := slices.IndexFunc(l.Services, func(o Service) bool { return o.Site == n && o.Port == port }); i >= 0 {
		return errs.New(errs.Invalid, "port %d of site %s is declared twice, for %s and for %s", port, s, l.Services[i].Kind, kind)
	}
	l.Services = append(l.Services, service)
	return nil
}

func (l *Layout) planNodes() error {
	for i := range l.Set.Sites {
		s := &l.Set.Sites[i]
		for j := range s.Nodes {
			n := &s.Nodes[j]
			for _, port := range []int{n.API, n.Peer, n.Client} {
				if err := l.host(n.Host, s.Name, port, Node); err != nil {
					return err
				}
			}
			l.process(Process{Name: "node-" + n.Name, Kind: Node, Site: s.Name, identity: "node:" + n.Name, node: n}, "node-"+n.Name)
		}
		for j := range s.Gateways {
			g := &s.Gateways[j]
			for _, port := range []int{g.Port, g.Admin} {
				if err := l.host(g.Host, s.Name, port, Gateway); err != nil {
					return err
				}
			}
			l.process(Process{Name: "gateway-" + g.Name, Kind: Gateway, Site: s.Name, identity: "gateway:" + g.Name, gateway: g}, "gateway-"+g.Name)
		}
	}
	return nil
}

func (l *Layout) planSystems() error {
	for i := range l.Set.Systems {
		s := &l.Set.Systems[i]
		for j := range s.Groups {
			g := &s.Groups[j]
			for k := range g.Members {
				m := &g.Members[k]
				if err := l.host(m.Agent.Host, m.Site, m.Agent.Port, Agent); err != nil {
					return err
				}
				if err := l.host(m.Database.Host, m.Site, m.Database.Port, Postgres); err != nil {
					return err
				}
				l.process(Process{
					Name: "agent-" + string(m.ID), Kind: Agent, Site: m.Site, identity: "agent:" + string(m.ID), system: s, group: g, member: m,
				}, string(m.ID))
			}
		}
		for _, d := range s.Deployments {
			for n, instance := range d.Instances {
				if err := l.planInstance(s, d.Site, n, instance); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

func (l *Layout) planInstance(s *manifest.System, at estate.SiteID, n int, instance string) error {
	u, err := url.Parse(instance)
	if err != nil || u.Scheme != "http" {
		return errs.New(errs.Invalid, "instance %q of system %s: the lab runs instances at http://HOST:PORT", instance, s.Name)
	}
	port, err := strconv.Atoi(u.Port())
	if err != nil {
		return errs.New(errs.Invalid, "instance %q of system %s has no port", instance, s.Name)
	}
	if err := l.host(u.Hostname(), at, port, App); err != nil {
		return err
	}
	name := fmt.Sprintf("%s-%s", s.Name, at)
	if n > 0 {
		name = fmt.Sprintf("%s%d", name, n+1)
	}
	l.process(Process{Name: name, Kind: App, Site: at, identity: "app:" + name, system: s, address: u.Host}, name)
	return nil
}
