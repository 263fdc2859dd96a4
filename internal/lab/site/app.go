package site

import (
	"fmt"
	"net"
	"net/url"
	"os"
	"strconv"
	"strings"

	"perdure/internal/app"
	"perdure/internal/lab/link"
)

// appConfig is the configuration of the reference system: it knows no hosts file, so it is given addresses.
type appConfig struct {
	ID     string `yaml:"id"`
	System string `yaml:"system"`
	Site   string `yaml:"site"`
	// Listen is the address it serves at, URL how gateways reach it.
	Listen string  `yaml:"listen"`
	URL    string  `yaml:"url"`
	TLS    app.TLS `yaml:"tls"`
	// Nodes and Gateways are base addresses, the nearest first.
	Nodes    []string  `yaml:"nodes"`
	Gateways []string  `yaml:"gateways"`
	Slots    int       `yaml:"slots"`
	Units    []appUnit `yaml:"units"`
}

// appUnit is a unit's database as the instance's own site has it: the owner's or a copy.
type appUnit struct {
	Name     string `yaml:"name"`
	Conninfo string `yaml:"conninfo"`
}

func (w *writer) appConfig(p Process, common app.Common) appConfig {
	_, port, _ := net.SplitHostPort(p.address)
	n, _ := strconv.Atoi(port)
	c := appConfig{
		ID: common.Name, System: string(p.system.Name), Site: string(p.Site), Listen: w.listen(p, n), URL: "http://" + p.address, TLS: common.TLS, Slots: p.system.Slots,
	}
	for _, other := range w.nearest(p.Site, w.Of(Node)) {
		c.Nodes = append(c.Nodes, w.byAddress(p, other.nodeURL()))
	}
	for _, other := range w.nearest(p.Site, w.Of(Gateway)) {
		c.Gateways = append(c.Gateways, w.byAddress(p, other.TrafficURL()))
	}
	password, err := os.ReadFile(w.AppPassword())
	if err != nil && w.err == nil {
		w.err = err
	}
	for _, u := range p.system.Units {
		g := p.system.Group(u.Group)
		if g == nil {
			continue
		}
		for _, m := range g.Members {
			if m.Site == p.Site {
				c.Units = append(c.Units, appUnit{
					Name: string(u.Name),
					Conninfo: fmt.Sprintf("host=%s port=%d dbname=perdure user=perdure_app password=%s sslmode=disable",
						w.address(p.Site), m.Database.Port, strings.TrimSpace(string(password))),
				})
			}
		}
	}
	return c
}

// byAddress writes the address of a host, as the process's site reaches it, in place of its name.
func (l *Layout) byAddress(p Process, base string) string {
	u, err := url.Parse(base)
	if err != nil {
		return base
	}
	if n, ok := l.hosts[u.Hostname()]; ok {
		u.Host = net.JoinHostPort(link.Addr(l.Lab, l.Number(p.Site), n).String(), u.Port())
	}
	return u.String()
}
