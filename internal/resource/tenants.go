package resource

import (
	"context"

	"perdure/internal/errs"
	"perdure/internal/estate"
)

type tenantKey struct{}

// For is a context in which kept drivers act on what is the tenant's alone (T2); "": on everything.
func For(ctx context.Context, tenant estate.TenantID) context.Context {
	return context.WithValue(ctx, tenantKey{}, tenant)
}

// TenantOf gives the tenant of For, "" where there is none.
func TenantOf(ctx context.Context) estate.TenantID {
	tenant, _ := ctx.Value(tenantKey{}).(estate.TenantID)
	return tenant
}

// Kept is a driver whose targets are units, which has a run of a tenant's plan act on the tenant's own and look at nothing else (T2).
type Kept struct {
	Driver
	// Whose says whose a unit is; false: there is none of that name.
	Whose func(ctx context.Context, id estate.UnitID) (estate.TenantID, bool, error)
}

func (k Kept) may(ctx context.Context, target string) error {
	tenant := TenantOf(ctx)
	if tenant == "" {
		return nil
	}
	of, ok, err := k.Whose(ctx, estate.UnitID(target))
	if err == nil && (!ok || of != tenant) {
		err = errs.Refuse("T2", "tenant %s has no unit %s: a run of its plan acts on its own units alone", tenant, target)
	}
	return err
}

// Ensure implements Driver.
func (k Kept) Ensure(ctx context.Context, c Call) (map[string]any, error) {
	if err := k.may(ctx, c.Target); err != nil {
		return nil, err
	}
	return k.Driver.Ensure(ctx, c)
}

// Observe implements Driver.
func (k Kept) Observe(ctx context.Context, c Call) (result map[string]any, done bool, err error) {
	if err := k.may(ctx, c.Target); err != nil {
		return nil, false, err
	}
	return k.Driver.Observe(ctx, c)
}

// Facts implements Driver.
func (k Kept) Facts(ctx context.Context, target string) (map[string]any, error) {
	if err := k.may(ctx, target); err != nil {
		return nil, err
	}
	return k.Driver.Facts(ctx, target)
}
