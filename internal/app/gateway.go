package app

import (
	"context"
	"encoding/json"
	"log/slog"
	"maps"
	"os"
	"slices"
	"strings"

	"perdure/internal/client"
	"perdure/internal/errs"
	"perdure/internal/estate"
	"perdure/internal/gateway"
	"perdure/internal/manifest"
	"perdure/internal/pki"
	"perdure/internal/route"
	"perdure/internal/wire"
)

// RunGateway takes business traffic in until ctx ends, then drains.
func RunGateway(ctx context.Context, c GatewayConfig) error {
	p, err := c.begin(os.Stderr)
	if err != nil {
		return err
	}
	var traffic []string
	if c.TrafficCert != "" {
		traffic = append(traffic, c.TrafficCert)
	}
	go p.mindCertificates(ctx, traffic...)
	adminTLS, err := p.files.ServerTLS(false)
	if err != nil {
		return err
	}
	clientTLS, err := p.files.ClientTLS()
	if err != nil {
		return err
	}
	n, err := newNodes(p, c.Nodes)
	if err != nil {
		return err
	}
	o := gateway.Options{
		Name: c.Name, Site: estate.SiteID(c.Site), Listen: c.Listen, AdminListen: c.Admin, AdminTLS: adminTLS, Data: c.DataDir,
		Source: routes{nodes: n, gateway: c.Name, site: estate.SiteID(c.Site), log: p.log}, UpstreamTLS: clientTLS, PeerTLS: clientTLS,
	}
	for _, g := range c.Gateways {
		o.Peers = append(o.Peers, gateway.Peer{Name: g.Name, URL: g.URL})
	}
	if c.TrafficCert != "" {
		if o.TLS, err = (pki.Files{Cert: c.TrafficCert, Key: c.TrafficKey, CA: c.TrafficClientCA}).PublicTLS(); err != nil {
			return err
		}
	} else if c.TrafficClientCA != "" {
		return errs.New(errs.Invalid, "trafficClientCA needs trafficCert and trafficKey: clients show certificates over TLS only")
	}
	switch log := gateway.AccessLog(c.AccessLog); log {
	case "", gateway.LogOff, gateway.LogErrors, gateway.LogAll:
		o.AccessLog = log
	default:
		return errs.New(errs.Invalid, "accessLog %q: allowed are off, errors, all", c.AccessLog)
	}
	g, err := gateway.New(o, p.log)
	if err != nil {
		return err
	}
	return g.Run(ctx)
}

// routes is where a gateway's tables come from: the manifest, the records and the registered instances, as the store has them.
type routes struct {
	nodes   nodes
	gateway string
	site    estate.SiteID
	log     *slog.Logger
}

// Watch delivers the whole input after every change, until ctx ends. The source is heard where a node with a majority says that
// all it knows was delivered; a node without one may be behind for as long as it likes.
func (r routes) Watch(ctx context.Context, deliver func(route.Input), heard func()) error {
	w := newWorld(r.log)
	return r.nodes.c.Watch(ctx, client.WatchOptions{Prefixes: []string{"manifest", "groups/", "instances/"}}, func(u wire.Update) error {
		if u.Reset {
			w = newWorld(r.log)
		}
		if u.Heartbeat && u.Quorum && u.Superseded == nil {
			heard()
		}
		if !u.Reset && len(u.Changes) == 0 {
			return nil
		}
		for _, c := range u.Changes {
			if err := w.take(c); err != nil {
				return err
			}
		}
		deliver(w.input(u.Position))
		return nil
	})
}

// Ack tells the control plane which table the gateway routes by.
func (r routes) Ack(ctx context.Context, version int64) error {
	return r.nodes.c.PutAck(ctx, wire.Ack{Gateway: r.gateway, Site: r.site, Version: version})
}

// world is what a gateway's source knows of the store.
type world struct {
	systems   []route.System
	static    []route.Instance
	groups    map[string]route.Owner
	instances map[string]route.Instance
	log       *slog.Logger
}

func newWorld(log *slog.Logger) world {
	return world{groups: map[string]route.Owner{}, instances: map[string]route.Instance{}, log: log}
}

func (w *world) take(c wire.Change) error {
	switch {
	case c.Key == "manifest":
		return w.takeManifest(c)
	case strings.HasPrefix(c.Key, "groups/"):
		if c.Deleted {
			delete(w.groups, c.Key)
			return nil
		}
		g := wire.Group{Revision: c.Revision}
		if err := json.Unmarshal(c.Value, &g.Record); err != nil {
			return errs.New(errs.Internal, "%s cannot be read: %w", c.Key, err)
		}
		w.groups[c.Key] = route.OwnerOf(&g.Record, g.Revision)
	case strings.HasPrefix(c.Key, "instances/"):
		if c.Deleted {
			delete(w.instances, c.Key)
			return nil
		}
		var i wire.Instance
		if err := json.Unmarshal(c.Value, &i); err != nil {
			return errs.New(errs.Internal, "%s cannot be read: %w", c.Key, err)
		}
		if i.Leaving {
			delete(w.instances, c.Key)
			return nil
		}
		w.instances[c.Key] = route.Instance{ID: i.ID, System: i.System, Site: i.Site, Address: i.URL, Units: i.Units}
	}
	return nil
}

func (w *world) takeManifest(c wire.Change) error {
	w.systems, w.static = nil, nil
	if c.Deleted {
		return nil
	}
	var m wire.Manifest
	if err := json.Unmarshal(c.Value, &m); err != nil {
		return errs.New(errs.Internal, "the manifest cannot be read: %w", err)
	}
	// A manifest that an older version accepted and this one would not must not keep anybody from being routed.
	set, problems := manifest.Known(manifest.File{Name: "applied manifest", Text: []byte(m.Text)})
	if len(problems) > 0 {
		w.log.Warn("the applied manifest is one that this version does not accept any more: routing as far as it can be read", "problems", len(problems), "first", problems[0].String())
	}
	w.systems, w.static = set.Routes()
	return nil
}

func (w *world) input(at wire.Position) route.Input {
	in := route.Input{Version: at.Revision, Incarnation: at.Incarnation, Systems: w.systems, Instances: slices.Clone(w.static)}
	for _, k := range slices.Sorted(maps.Keys(w.groups)) {
		in.Owners = append(in.Owners, w.groups[k])
	}
	for _, k := range slices.Sorted(maps.Keys(w.instances)) {
		in.Instances = append(in.Instances, w.instances[k])
	}
	return in
}
