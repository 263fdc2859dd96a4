//go:build !seed9

package unit

import "perdure/internal/estate"

// takeOut takes a copy that holds commits up out of the set: in the record first, then in force (I2).
func (n agentView) takeOut(l estate.Life) Action {
	return n.post(Transition{Kind: Shrink, Member: l, Reason: "it holds commits up"})
}
