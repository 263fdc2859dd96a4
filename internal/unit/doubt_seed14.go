//go:build seed14

package unit

// Seeded bug 14 (ownership.md §4): the record of a recovered store is believed as it is.
func (r *Record) doubt() { r.Lost = nil }
