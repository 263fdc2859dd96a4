package store

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/url"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"perdure/internal/errs"
	"perdure/internal/estate"
	"perdure/internal/wire"
)

// Bounds of an instance's time to live, in seconds.
const (
	leastTTL   = 2
	defaultTTL = 10
	mostTTL    = 600
)

// mostStatus bounds free-form status texts, in bytes.
const mostStatus = 64 << 10

// PutInstance registers an instance, or renews it: a registration that is not renewed within its time to live disappears.
// A renewal that changes nothing writes nothing but the lease.
func (s *Store) PutInstance(ctx context.Context, i wire.Instance) (wire.Instance, error) {
	if i.TTLSeconds == 0 {
		i.TTLSeconds = defaultTTL
	}
	if i.TTLSeconds < leastTTL || i.TTLSeconds > mostTTL {
		return i, errs.New(errs.Invalid, "instance %s: time to live %d s: it must be between %d and %d s", i.ID, i.TTLSeconds, leastTTL, mostTTL)
	}
	if u, err := url.Parse(i.URL); err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return i, errs.New(errs.Invalid, "instance %s: URL %q: give http://HOST:PORT or https://HOST:PORT", i.ID, i.URL)
	}
	key, err := instanceKey(i.System, i.Site, i.ID)
	if err != nil {
		return i, err
	}
	data, err := json.Marshal(i)
	if err != nil {
		return i, errs.New(errs.Internal, "cannot encode instance %s: %w", i.ID, err)
	}
	ctx, cancel := s.limit(ctx)
	defer cancel()
	have, _, err := s.get(ctx, key, wire.Fresh)
	if err != nil {
		return i, err
	}
	if have.lease != 0 && bytes.Equal(have.value, data) {
		if _, err := s.c.KeepAliveOnce(ctx, have.lease); err == nil {
			return i, nil
		} else if !errors.Is(err, rpctypes.ErrLeaseNotFound) {
			return i, writeError("renew instance "+i.ID, err)
		}
	}
	lease, err := s.c.Grant(ctx, i.TTLSeconds)
	if err != nil {
		return i, writeError("register instance "+i.ID, err)
	}
	if _, _, err := s.commit(ctx, "register instance "+i.ID, nil, []clientv3.Op{clientv3.OpPut(Root+key, string(data), clientv3.WithLease(lease.ID))}); err != nil {
		return i, err
	}
	if have.lease != 0 {
		_, _ = s.c.Revoke(ctx, have.lease) // it would end by itself; the key is on the new lease
	}
	return i, nil
}

// DeleteInstance ends a registration at once; one that is not there is fine.
func (s *Store) DeleteInstance(ctx context.Context, system estate.SystemID, site estate.SiteID, id string) error {
	key, err := instanceKey(system, site, id)
	if err != nil {
		return err
	}
	_, _, err = s.commit(ctx, "remove instance "+id, nil, []clientv3.Op{clientv3.OpDelete(Root + key)})
	return err
}

// Instances lists the registered instances.
func (s *Store) Instances(ctx context.Context, r wire.Read) ([]wire.Instance, error) {
	return listOf[wire.Instance](ctx, s, instancesPrefix, r)
}

func instanceKey(system estate.SystemID, site estate.SiteID, id string) (string, error) {
	for _, part := range []struct{ what, name string }{{"system", string(system)}, {"site", string(site)}, {"instance", id}} {
		if err := checkName(part.what, part.name); err != nil {
			return "", err
		}
	}
	return instancesPrefix + string(system) + "/" + string(site) + "/" + id, nil
}

// PutAck notes which table a gateway routes by.
func (s *Store) PutAck(ctx context.Context, a wire.Ack) error {
	a.At = s.now()
	return s.putFree(ctx, "gateway", gatewaysPrefix, a.Gateway, a.Status, a)
}

// Acks lists what the gateways acknowledged.
func (s *Store) Acks(ctx context.Context, r wire.Read) ([]wire.Ack, error) {
	return listOf[wire.Ack](ctx, s, gatewaysPrefix, r)
}

// PutMemberStatus notes what an agent says of its member. Agents send it when it changes, and now and then.
func (s *Store) PutMemberStatus(ctx context.Context, m wire.MemberStatus) error {
	m.At = s.now()
	return s.putFree(ctx, "member", membersPrefix, string(m.Member), m.Status, m)
}

// MemberStatuses lists what the agents said.
func (s *Store) MemberStatuses(ctx context.Context, r wire.Read) ([]wire.MemberStatus, error) {
	return listOf[wire.MemberStatus](ctx, s, membersPrefix, r)
}

func (s *Store) putFree(ctx context.Context, what, prefix, name string, status json.RawMessage, v any) error {
	if err := checkName(what, name); err != nil {
		return err
	}
	if len(status) > mostStatus {
		return errs.New(errs.Invalid, "%s %s: its status has %d bytes, the limit is %d", what, name, len(status), mostStatus)
	}
	write, err := put(prefix+name, v)
	if err != nil {
		return err
	}
	_, _, err = s.commit(ctx, "write the status of "+what+" "+name, nil, []clientv3.Op{write})
	return err
}

// PutDivergence keeps one report of diverged transactions; the same id replaces it.
func (s *Store) PutDivergence(ctx context.Context, d wire.Divergence) error {
	if err := checkName("group", string(d.Group)); err != nil {
		return err
	}
	if err := checkName("divergence", d.ID); err != nil {
		return err
	}
	d.At = s.now()
	write, err := put(divergencesPrefix+string(d.Group)+"/"+d.ID, d)
	if err != nil {
		return err
	}
	event, err := s.event(0, wire.Event{Who: d.Reporter, What: "divergence.report", Subject: string(d.Group)}, map[string]any{"id": d.ID, "bytes": len(d.Report)})
	if err != nil {
		return err
	}
	_, _, err = s.commit(ctx, "write the divergence of "+string(d.Group), nil, []clientv3.Op{write, event})
	return err
}

// Divergences lists the reports of one group.
func (s *Store) Divergences(ctx context.Context, group estate.GroupID, r wire.Read) ([]wire.Divergence, error) {
	if err := checkName("group", string(group)); err != nil {
		return nil, err
	}
	return listOf[wire.Divergence](ctx, s, divergencesPrefix+string(group)+"/", r)
}
