package etcdnode

import (
	"context"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/server/v3/etcdserver"
	"go.etcd.io/etcd/server/v3/etcdserver/api/v3rpc"
	"go.etcd.io/etcd/server/v3/proxy/grpcproxy/adapter"
)

// inProcess makes a client of the server in this process: local reads and watches work before there is a quorum, and without
// a connection that could break. It is etcd's own v3client, with one difference: etcd's ends in a nil pointer when a call meets
// a server that has just stopped, as a removed member does by itself. Here every call is part of the server's own work:
// the server waits for it before it closes its files, and ends it by live.
func inProcess(s *etcdserver.EtcdServer, live context.Context) *clientv3.Client {
	g := guard{server: s, live: live}
	c := clientv3.NewCtxClient(context.Background(), clientv3.WithZapLogger(s.Logger()))
	c.KV = clientv3.NewKVFromKVClient(adapter.KvServerToKvClient(guardedKV{guard: g, kv: v3rpc.NewQuotaKVServer(s)}), c)
	c.Lease = clientv3.NewLeaseFromLeaseClient(adapter.LeaseServerToLeaseClient(v3rpc.NewQuotaLeaseServer(s)), c, time.Second)
	c.Watcher = plainWatcher{clientv3.NewWatchFromWatchClient(adapter.WatchServerToWatchClient(v3rpc.NewWatchServer(s)), c)}
	c.Maintenance = clientv3.NewMaintenanceFromMaintenanceClient(adapter.MaintenanceServerToMaintenanceClient(v3rpc.NewMaintenanceServer(s, nil)), c)
	c.Cluster = clientv3.NewClusterFromClusterClient(adapter.ClusterServerToClusterClient(v3rpc.NewClusterServer(s)), c)
	return c
}

// guard lets calls into a server that lives.
type guard struct {
	server *etcdserver.EtcdServer
	live   context.Context // ends when the server begins to stop
}

// run calls f while the server cannot close its files. It reports whether f ran.
func (g guard) run(f func()) bool {
	done := make(chan struct{})
	g.server.GoAttach(func() {
		defer close(done)
		f()
	})
	select {
	case <-done:
		return true
	case <-g.server.StopNotify(): // a running f was waited for, so one that has not ended never began
		select {
		case <-done:
			return true
		default:
			return false
		}
	}
}

func guarded[A, R any](ctx context.Context, g guard, a A, call func(context.Context, A) (R, error)) (out R, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(g.live, cancel)()
	if !g.run(func() { out, err = call(ctx, a) }) {
		return out, rpctypes.ErrGRPCStopped
	}
	return out, err
}

type guardedKV struct {
	guard
	kv pb.KVServer
}

func (g guardedKV) Range(ctx context.Context, r *pb.RangeRequest) (*pb.RangeResponse, error) {
	return guarded(ctx, g.guard, r, g.kv.Range)
}

func (g guardedKV) Put(ctx context.Context, r *pb.PutRequest) (*pb.PutResponse, error) {
	return guarded(ctx, g.guard, r, g.kv.Put)
}

func (g guardedKV) DeleteRange(ctx context.Context, r *pb.DeleteRangeRequest) (*pb.DeleteRangeResponse, error) {
	return guarded(ctx, g.guard, r, g.kv.DeleteRange)
}

func (g guardedKV) Txn(ctx context.Context, r *pb.TxnRequest) (*pb.TxnResponse, error) {
	return guarded(ctx, g.guard, r, g.kv.Txn)
}

func (g guardedKV) Compact(ctx context.Context, r *pb.CompactionRequest) (*pb.CompactionResponse, error) {
	return guarded(ctx, g.guard, r, g.kv.Compact)
}

// plainWatcher keeps watches of different callers on one stream: etcd tells streams apart by the text of their context,
// and reads that text, values and all, without synchronisation.
type plainWatcher struct{ clientv3.Watcher }

type plainContext struct{ context.Context }

func (plainContext) String() string { return "plain" }

// Watch implements clientv3.Watcher.
func (w plainWatcher) Watch(ctx context.Context, key string, options ...clientv3.OpOption) clientv3.WatchChan {
	return w.Watcher.Watch(plainContext{ctx}, key, options...)
}
