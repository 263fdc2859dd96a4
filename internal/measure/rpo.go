package measure

import (
	"math/big"
	"time"

	"perdure/internal/plan"
	"perdure/internal/run"
)

// RPO is what was lost by the switches of a run, as it was estimated and accepted when each was decided, against the bound of the mode's contract. What
// one switch does not know nobody knows of all.
type RPO struct {
	// Switched is how many units were switched, and what was lost of them is the sum of the next three.
	Switched     int    `json:"switched"`
	Transactions *int64 `json:"transactions"`
	Accounts     *int64 `json:"accounts"`
	Amount       string `json:"amount,omitempty"` // decimal text; empty: not known
	// Time is the most of one: from when its newest record that is left was made until the newest that is known to be lost.
	Time *time.Duration `json:"time"`
	// Bound is that of the mode; 0: nothing may be lost; below 0: none.
	Bound time.Duration `json:"bound"`
	// Met says whether the bound was kept; nil where there is none, and where that is not known.
	Met     *bool    `json:"met"`
	Sources []Source `json:"sources"`
}

// Source is where the figures of one unit come from.
type Source struct {
	Unit string `json:"unit"`
	Says string `json:"says"`
}

// rpo adds up what the switches of units gave that are done.
func rpo(f *fold) *RPO {
	out := &RPO{Transactions: new(int64), Accounts: new(int64), Time: new(time.Duration), Bound: plan.ContractOf(f.r.Program.Mode).RPO}
	amount, known := new(big.Rat), true
	for i := range f.r.Steps {
		s, act := &f.r.Steps[i], f.r.Program.Nodes[i].Step.Act
		if act == nil || act.Driver != "unit" || act.Action != "switch" || s.Status != run.DoneStep {
			continue
		}
		target := act.Target
		if s.Call != nil { // nil: a person did it
			target = s.Call.Target
		}
		out.Switched++
		said, _ := s.Result["lossSource"].(string)
		out.Sources = append(out.Sources, Source{target, said})
		out.Transactions, out.Accounts = sum(out.Transactions, s.Result["lostTransactions"]), sum(out.Accounts, s.Result["lostAccounts"])
		if one := sum(new(int64), s.Result["lostMillis"]); one == nil {
			out.Time = nil
		} else if out.Time != nil {
			out.Time = new(max(*out.Time, time.Duration(*one)*time.Millisecond))
		}
		text, _ := s.Result["lostAmount"].(string)
		v, ok := new(big.Rat).SetString(text)
		if known = known && ok; known {
			amount.Add(amount, v)
		}
	}
	if out.Switched == 0 {
		return nil
	}
	if known {
		out.Amount = amount.FloatString(2)
	}
	switch {
	case out.Bound == 0 && out.Transactions != nil:
		out.Met = new(*out.Transactions == 0)
	case out.Bound > 0 && out.Time != nil:
		out.Met = new(*out.Time <= out.Bound)
	}
	return out
}

// sum adds a figure; nil: one is not known.
func sum(before *int64, figure any) *int64 {
	v, ok := figure.(float64)
	if before == nil || !ok || v < 0 {
		return nil
	}
	return new(*before + int64(v))
}
