//go:build seed9

package unit

import (
	"slices"

	"perdure/internal/estate"
)

// Seeded bug 9 (ownership.md §4): the configuration is changed first, the record when it can be reached.
func (n agentView) takeOut(l estate.Life) Action {
	rest := slices.DeleteFunc(slices.Clone(n.rec.InSync), func(o estate.Life) bool { return o == l })
	return Action{Do: ShrinkTo, Why: "it holds commits up", Lives: rest}
}
