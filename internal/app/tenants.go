package app

import (
	"context"
	"sync"

	"perdure/internal/estate"
	"perdure/internal/manifest"
	"perdure/internal/resource"
	"perdure/internal/wire"
)

// tenancy says whose a unit is by the applied manifest.
type tenancy struct {
	store interface {
		Manifest(ctx context.Context, r wire.Read) (wire.Manifest, error)
	}
	mu       sync.Mutex
	revision int64
	set      manifest.Set
}

// of reads as much of the manifest as this version understands: one of another version never keeps a tenant from its units.
func (t *tenancy) of(ctx context.Context, id estate.UnitID) (estate.TenantID, bool, error) {
	m, err := t.store.Manifest(ctx, wire.Local)
	if err != nil {
		return "", false, err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.revision != m.Revision {
		t.set, _ = manifest.Known(manifest.File{Name: "applied manifest", Text: []byte(m.Text)})
		t.revision = m.Revision
	}
	of, ok := t.set.TenantOf(id)
	return of, ok, nil
}

// keep has drivers whose targets are units act for a tenant on its own alone.
func (t *tenancy) keep(drivers resource.Set) resource.Set {
	out := resource.Set{}
	for name, d := range drivers {
		if name != "notify" { // it has no target
			d = resource.Kept{Driver: d, Whose: t.of}
		}
		out[name] = d
	}
	return out
}
