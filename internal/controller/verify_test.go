package controller

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"perdure/internal/driver"
	"perdure/internal/errs"
	"perdure/internal/estate"
	"perdure/internal/unit"
	"perdure/internal/wire"
)

// keptOf are receipts by unit.
type keptOf map[estate.UnitID]*kept

func (k keptOf) Since(ctx context.Context, u estate.UnitID, at time.Time, on func(Kept) error) (Sources, error) {
	return k[u].Since(ctx, u, at, on)
}

// TestVerifyComparesTheReceiptsOfEveryUnitOfTheGroup: a verdict is on an account of the database, whichever unit served it (I7).
func TestVerifyComparesTheReceiptsOfEveryUnitOfTheGroup(t *testing.T) {
	const u2 = estate.UnitID("u2")
	now := estate.Ownership{Incarnation: estate.Incarnation{Counter: 1, ID: "x"}, Epoch: 9}
	former := now
	former.Epoch--
	receipt := func(key, account string) Kept {
		return Kept{Receipt: driver.Receipt{Key: key, Accounts: []string{account}}, Ownership: former}
	}
	receipts := keptOf{u1: {all: []Kept{receipt("k1", "x"), receipt("k2", "y")}}, u2: {all: []Kept{receipt("k3", "z")}}}
	quarantined := func(r *unit.Record) {
		r.Units, r.Quarantine, r.QuarantineOf = []estate.UnitID{u1, u2}, true, now
	}
	watching(t, quarantined, receipts, func(w *world) {
		var judged *driver.Judgement
		w.set(func() {
			w.agents[a] = func(path string, body []byte) (any, error) {
				switch path {
				case "/v1/fork":
					return wire.ForkAnswer{At: time.UnixMilli(50_000), Ownership: now}, nil
				case "/v1/missing":
					var ask wire.MissingRequest
					err := json.Unmarshal(body, &ask)
					return wire.MissingAnswer{Missing: []int{len(ask.Keys) - 1}}, err
				case "/v1/judge":
					judged = &driver.Judgement{}
					return driver.Judged{Verified: 1, Inconsistent: 2}, json.Unmarshal(body, judged)
				}
				return wire.AgentState{Group: group, Running: true, Answering: true}, nil
			}
		})
		for _, named := range []estate.UnitID{u1, u2} {
			judged = nil
			answer, err := w.Verify(w.t.Context(), "ann", named, "select", time.Time{})
			if err != nil || answer.Receipts != 3 || answer.Lost != 2 {
				t.Fatalf("verify %s: %+v, %v", named, answer, err)
			}
			if judged == nil || !slices.Equal(judged.Touched, []string{"y", "z"}) || !slices.Equal(judged.Units, []estate.UnitID{u1, u2}) || judged.Quarantine != now {
				t.Errorf("verify %s: judged by %+v", named, judged)
			}
			if !strings.Contains(answer.Source, "u1: receipts") || !strings.Contains(answer.Source, "u2: receipts") {
				t.Errorf("verify %s does not say that all units were compared: %s", named, answer.Source)
			}
		}
		for why, change := range map[string]func(*kept){
			"u2: gateway a does not":   func(k *kept) { k.missing = []string{"a"} },
			"u2: receipts are whole":   func(k *kept) { k.from = time.UnixMilli(50_001) },
			"u2: no receipt from":      func(k *kept) { k.all = nil },
			"u2: its receipts could n": func(k *kept) { k.err = errs.New(errs.Unavailable, "no gateway answers") },
		} {
			was := *receipts[u2]
			change(receipts[u2])
			judged = nil
			if _, err := w.Verify(w.t.Context(), "ann", u1, "select", time.Time{}); errs.KindOf(err) != errs.Unavailable || !strings.Contains(err.Error(), why) || judged != nil {
				t.Errorf("accounts are cleared although %s…: %v, %+v", why, err, judged)
			}
			*receipts[u2] = was
		}
	})
}
