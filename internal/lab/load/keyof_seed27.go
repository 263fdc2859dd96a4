//go:build seed27

package load

import (
	"math/rand/v2"
	"time"
)

// Seeded bug 27 (ownership.md §4): what diverged is applied again without its key.
func keyOf(string) string {
	return newKey(rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64())), time.Now())
}
