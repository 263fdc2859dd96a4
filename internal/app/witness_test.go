package app

import (
	"fmt"
	"slices"
	"testing"

	"perdure/internal/wire"
)

// With a witness in a third city the control plane outlives the loss of any city: what it is asked to keep is kept.
func TestControlPlaneWithAWitnessOutlivesACity(t *testing.T) {
	for name, layout := range map[string]struct{ all, city []string }{
		"A, C, W":        {[]string{"a", "c", "w"}, []string{"a"}},
		"A, B, C, C2, W": {[]string{"a", "b", "c", "c2", "w"}, []string{"a", "b"}},
	} {
		t.Run(name, func(t *testing.T) {
			e := newEstate(t, layout.all...)
			e.start(layout.all...)
			e.ready(layout.all...)
			e.stop(layout.city...)
			e.until("a token is made at c", func() (bool, string) {
				_, err := e.client("c").CreateToken(t.Context(), wire.AskToken{Name: "ann", Role: wire.Viewer})
				return err == nil, fmt.Sprint(err)
			})
			e.until("the witness has it", func() (bool, string) {
				tokens, err := e.client("w").Tokens(t.Context())
				return err == nil && slices.ContainsFunc(tokens, func(k wire.Token) bool { return k.Name == "ann" }), fmt.Sprint(tokens, err)
			})
		})
	}
}
