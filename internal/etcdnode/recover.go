package etcdnode

import (
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"os"
	"path/filepath"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/etcdutl/v3/snapshot"
	"go.uber.org/zap"

	"perdure/internal/errs"
)

// readyLimit is how long a lone member may take to lead itself after a recovery or restore.
const readyLimit = 30 * time.Second

// Recover makes one surviving member's directory a store of its own, after the majority is lost (I10).
// It runs the member alone, lets write put the new incarnation and the recovered records into it, and stops it again.
// No API serves meanwhile. If it is cut short, run it again: write must be one transaction.
// The caller is `perdure node recover`: a person's confirmed act, recorded by write.
func Recover(ctx context.Context, o Options, write func(context.Context, *clientv3.Client) error) error {
	if _, err := os.Stat(filepath.Join(o.Dir, "etcd", "member")); err != nil {
		return errs.New(errs.Invalid, "cannot recover: there is no store in %s; name the data directory of a surviving node: %w", o.Dir, err)
	}
	o.Join = false
	cfg, err := o.config(true)
	if err != nil {
		return err
	}
	return runAlone(ctx, cfg.Name, func() (*Node, error) { return start(cfg, o) }, write)
}

// Restore makes a store of one member from a snapshot file, in an empty directory, and lets write put the new incarnation into it.
// The other members join afterwards with empty directories. The snapshot's own checksum is verified.
func Restore(ctx context.Context, o Options, file string, write func(context.Context, *clientv3.Client) error) error {
	o.Join = false
	cfg, err := o.config(true)
	if err != nil {
		return err
	}
	if _, err := os.Stat(cfg.Dir); err == nil {
		return errs.New(errs.Refused, "cannot restore into %s: there is a store already; move it away first", o.Dir)
	}
	lock, err := lockDir(o.Dir)
	if err != nil {
		return err
	}
	defer lock.Close()
	zlog := zap.New(&core{log: o.Logger.With("part", "restore")})
	err = snapshot.NewV3(zlog).Restore(snapshot.RestoreConfig{
		SnapshotPath: file, Name: o.Name, OutputDataDir: cfg.Dir,
		PeerURLs:       []string{cfg.AdvertisePeerUrls[0].String()},
		InitialCluster: cfg.InitialCluster, InitialClusterToken: cfg.InitialClusterToken,
		// Revisions go on far above anything the old store gave out, and older ones count as compacted,
		// so that no watcher resumes in a history that never was.
		RevisionBump: 1_000_000_000, MarkCompacted: true,
	})
	if err != nil {
		_ = os.RemoveAll(cfg.Dir) // nothing was there before
		return errs.New(errs.Invalid, "cannot restore %s: %w", file, err)
	}
	cfg.ForceNewCluster = false
	_ = lock.Close() // runAlone takes it
	if err := runAlone(ctx, cfg.Name, func() (*Node, error) { return start(cfg, o) }, write); err != nil {
		_ = os.RemoveAll(cfg.Dir) // half restored is worse than nothing: it would start under the old incarnation
		return err
	}
	return nil
}

func runAlone(ctx context.Context, name string, begin func() (*Node, error), write func(context.Context, *clientv3.Client) error) error {
	n, err := begin()
	if err != nil {
		return err
	}
	defer n.Stop()
	ctx, cancel := context.WithTimeout(ctx, readyLimit)
	defer cancel()
	select {
	case <-n.etcd.Server.ReadyNotify():
	case <-n.Stopped():
		return errs.New(errs.Unavailable, "store member %s ended while it was recovered: %s", name, *n.reason.Load())
	case <-ctx.Done():
		return errs.New(errs.Unavailable, "store member %s did not become ready alone: %w", name, ctx.Err())
	}
	return write(ctx, n.client)
}

// Snapshot writes the store as one file with its checksum at the end, as Restore takes it.
// It is the local member's state and needs no quorum. What was written before an error is no snapshot.
func (n *Node) Snapshot(ctx context.Context, w io.Writer) error {
	if n.etcd == nil {
		return n.externalSnapshot(ctx, w)
	}
	var err error
	if !n.guard.run(func() { err = n.writeSnapshot(w) }) {
		return errs.New(errs.Unavailable, "cannot take a snapshot: the member has stopped")
	}
	if err != nil {
		return errs.New(errs.Unavailable, "the snapshot of the store broke off: %w", err)
	}
	return nil
}

func (n *Node) writeSnapshot(w io.Writer) error {
	snap := n.etcd.Server.Backend().Snapshot()
	defer snap.Close()
	sum := sha256.New()
	if _, err := snap.WriteTo(io.MultiWriter(endable{w, n.guard.live}, sum)); err != nil {
		return err
	}
	_, err := w.Write(sum.Sum(nil))
	return err
}

// endable is a writer that fails once the member begins to stop.
type endable struct {
	w    io.Writer
	live context.Context
}

// Write implements io.Writer.
func (e endable) Write(p []byte) (int, error) {
	if e.live.Err() != nil {
		return 0, errors.New("the member is stopping")
	}
	return e.w.Write(p)
}

func (n *Node) externalSnapshot(ctx context.Context, w io.Writer) error {
	r, err := n.client.Snapshot(ctx)
	if err != nil {
		return errs.New(errs.Unavailable, "cannot take a snapshot of the store: %w", err)
	}
	defer r.Close()
	if _, err := io.Copy(w, r); err != nil {
		return errs.New(errs.Unavailable, "the snapshot of the store broke off: %w", err)
	}
	return nil
}
