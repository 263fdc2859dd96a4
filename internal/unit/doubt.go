//go:build !seed14

package unit

import "perdure/internal/estate"

// doubt closes a recovered record: what the store says about the in-sync set is no proof, so nobody is in it (I10).
func (r *Record) doubt() {
	r.State, r.InSync, r.Heirs, r.Before, r.Released = Closed, nil, nil, estate.Life{}, false
}
