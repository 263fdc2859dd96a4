package agent

import (
	"bytes"
	"context"
	"encoding/json"
	"time"

	"perdure/internal/driver"
	"perdure/internal/unit"
)

const (
	reportEvery = time.Second
	// checkEvery is how often the installation is checked again (I17).
	checkEvery = 24 * time.Hour
)

// keepReporting tells the store once a second what this member is and has, and checks the installation daily.
// What it reports is for people and for loss estimates; no rule depends on its arrival.
func (a *Agent) keepReporting(ctx context.Context) error {
	tick := time.NewTicker(reportEvery)
	defer tick.Stop()
	var checked time.Time
	var last []byte
	var sent time.Time
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		a.count(ctx)
		if time.Since(checked) > checkEvery && a.check(ctx) {
			checked = time.Now()
		}
		status, err := json.Marshal(a.state())
		if err != nil {
			return err
		}
		if bytes.Equal(status, last) && time.Since(sent) < 10*reportEvery {
			continue
		}
		bounded, cancel := context.WithTimeout(ctx, 2*reportEvery)
		err = a.store.PutMemberStatus(bounded, a.opts.Member, status)
		cancel()
		if err == nil {
			last, sent = status, time.Now()
		}
	}
}

// count sums up what the units have recorded, for loss estimates (I10).
func (a *Agent) count(ctx context.Context) {
	a.counting.Lock()
	defer a.counting.Unlock()
	a.mu.Lock()
	rec, seen := a.group.Record, a.seen
	a.mu.Unlock()
	if !seen.Running || !seen.Answering || len(rec.Units) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, reportEvery)
	defer cancel()
	tally, err := a.db.Tally(ctx, rec.Units)
	if err != nil {
		a.log.Debug("no tally", "err", err)
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.exposed(rec, tally)
	a.status.Tally = tally
}

// exposed counts the transactions since the unit was left without an in-sync copy (I2). The agent's lock is held.
func (a *Agent) exposed(rec unit.Record, tally []driver.Tally) {
	if !rec.Unprotected() || rec.Owner != a.self.Now() {
		a.status.Exposed = 0
		return
	}
	if a.status.Tally != nil {
		a.status.Exposed += transactions(tally) - transactions(a.status.Tally)
	}
}

func transactions(tally []driver.Tally) int64 {
	var n int64
	for _, t := range tally {
		n += t.Transactions
	}
	return n
}

func (a *Agent) check(ctx context.Context) bool {
	a.mu.Lock()
	ready := a.seen.Running && a.seen.Answering
	a.mu.Unlock()
	if !ready {
		return false
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	findings, err := a.db.Check(ctx)
	if err != nil {
		a.log.Debug("installation not checked", "err", err)
		return false
	}
	for _, f := range findings {
		a.log.Warn("installation", "check", f.Check, "problem", f.Problem, "fix", f.Fix, "fatal", f.Fatal)
	}
	a.mu.Lock()
	a.status.Findings = findings
	a.mu.Unlock()
	return true
}
