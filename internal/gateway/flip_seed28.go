//go:build seed28

package gateway

import "perdure/internal/estate"

// Seeded bug 28 (ownership.md §4): nothing is abandoned at a flip, and an answer of an older ownership counts.
func (g *Gateway) abandon([]*track) {}

func (x *exchange) current() estate.Ownership { return estate.Ownership{} }
