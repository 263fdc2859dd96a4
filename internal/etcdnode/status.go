package etcdnode

import (
	"context"
	"fmt"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"golang.org/x/sys/unix"

	"perdure/internal/errs"
	"perdure/internal/wire"
)

// lowDisk is the free space below which the disk is shown as an alarm, before etcd itself runs out.
const lowDisk = 128 << 20

// Status is the local member's view; it needs no quorum and gives what it can.
func (n *Node) Status(ctx context.Context) wire.StoreStatus {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	if n.etcd == nil {
		return n.externalStatus(ctx)
	}
	s := wire.StoreStatus{Embedded: true, Quota: n.quota}
	if reason := n.reason.Load(); reason != nil {
		s.Stopped = *reason
		return s
	}
	server := n.etcd.Server
	leader := server.Leader()
	s.Quorum = leader != 0
	for _, m := range server.Cluster().Members() {
		s.Members = append(s.Members, wire.StoreMember{ID: m.ID.String(), Name: m.Name, PeerURL: m.PeerURLs, Learner: m.IsLearner})
		if m.ID == leader {
			s.Leader = m.Name
		}
	}
	n.guard.run(func() {
		s.Revision = server.KV().Rev()
		s.Bytes, s.Used = server.Backend().Size(), server.Backend().SizeInUse()
	})
	for _, a := range server.Alarms() {
		s.Alarms = append(s.Alarms, a.Alarm.String())
	}
	if s.Filled() >= wire.Filling {
		s.Alarms = append(s.Alarms, "LOWSPACE")
	}
	var disk unix.Statfs_t
	if unix.Statfs(n.dir, &disk) == nil {
		s.FreeBytes = disk.Bavail * uint64(disk.Bsize)
		if s.FreeBytes < lowDisk {
			s.Alarms = append(s.Alarms, "LOWDISK")
		}
	}
	return s
}

func (n *Node) externalStatus(ctx context.Context) wire.StoreStatus {
	var s wire.StoreStatus
	for _, endpoint := range n.client.Endpoints() {
		status, err := n.client.Status(ctx, endpoint)
		if err != nil {
			continue
		}
		s.Revision, s.Bytes, s.Used, s.Quota = status.Header.Revision, status.DbSize, status.DbSizeInUse, status.DbSizeQuota
		s.Quorum = status.Leader != 0
		if status.Leader != 0 {
			s.Leader = fmt.Sprintf("%x", status.Leader)
		}
		s.Alarms = status.Errors
		return s
	}
	s.Stopped = "no endpoint answers"
	return s
}

// Reclaim frees what deleted and superseded values take: it forgets history up to now, makes the local file small again
// and lifts the NOSPACE alarm if the store then is below nine tenths of its quota. Writes wait while the file is rewritten.
func (n *Node) Reclaim(ctx context.Context) error {
	if n.etcd == nil {
		return errs.New(errs.Refused, "the store is external: reclaim its space with etcdctl compact, defrag and alarm disarm")
	}
	var head int64
	n.guard.run(func() { head = n.etcd.Server.KV().Rev() })
	if _, err := n.client.Compact(ctx, head, clientv3.WithCompactPhysical()); err != nil && ctx.Err() != nil {
		return errs.New(errs.Unavailable, "cannot compact the store: %w", err)
	}
	err := errs.New(errs.Unavailable, "the member has stopped")
	var used int64
	n.guard.run(func() {
		err = nil
		if failed := n.etcd.Server.Backend().Defrag(); failed != nil {
			err = errs.New(errs.Unavailable, "cannot make the store's file small: %w", failed)
		}
		used = n.etcd.Server.Backend().Size()
	})
	if err != nil {
		return err
	}
	if used > n.quota/10*9 {
		return errs.New(errs.Unavailable, "the store still takes %d of %d bytes; raise its quota", used, n.quota)
	}
	for _, a := range n.etcd.Server.Alarms() {
		if a.Alarm != pb.AlarmType_NOSPACE {
			continue
		}
		if _, err := n.client.AlarmDisarm(ctx, &clientv3.AlarmMember{MemberID: a.MemberID, Alarm: a.Alarm}); err != nil {
			return errs.New(errs.Unavailable, "cannot lift the NOSPACE alarm: %w", err)
		}
	}
	return nil
}
