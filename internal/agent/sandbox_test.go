package agent

import (
	"context"
	"encoding/json"
	"log/slog"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"perdure/internal/driver"
	"perdure/internal/errs"
	"perdure/internal/estate"
	"perdure/internal/wire"
)

// boxes is a driver whose clones take an hour.
type boxes struct {
	there  driver.Sandbox
	masked []estate.Mask
}

func (b *boxes) Sandbox(context.Context) (driver.Sandbox, error) { return b.there, nil }

func (b *boxes) CloneSandbox(ctx context.Context, run string, keep time.Duration, _ driver.Progress) (driver.Sandbox, error) {
	b.there = driver.Sandbox{Run: run, State: driver.SandboxCopying, Until: time.Now().Add(keep)}
	select {
	case <-ctx.Done():
		return b.there, ctx.Err()
	case <-time.After(time.Hour):
	}
	b.there.State = driver.SandboxCloned
	return b.there, nil
}

func (b *boxes) OpenSandbox(context.Context, string, []string) (driver.Sandbox, error) {
	return b.there, errs.New(errs.Refused, "not alone")
}

func (b *boxes) TransactSandbox(_ context.Context, _ string, test driver.SandboxTest) (driver.SandboxTransacted, error) {
	n := int64(len(test.Accounts))
	return driver.SandboxTransacted{Accounts: n, Accepted: n, Refused: true, Other: string(test.Unit)}, nil
}

func (b *boxes) MaskSandbox(_ context.Context, run string, masks []estate.Mask) (driver.SandboxMasked, error) {
	if len(masks) == 0 {
		return driver.SandboxMasked{}, errs.New(errs.Invalid, "nothing is declared")
	}
	b.masked = masks
	return driver.SandboxMasked{Columns: int64(len(masks)), Rows: 7}, nil
}

func (b *boxes) ShowSandbox(_ context.Context, _ string, masks []estate.Mask, shows []estate.Showing) ([]driver.SandboxRows, error) {
	if !slices.Equal(masks, b.masked) {
		return nil, errs.New(errs.Refused, "not masked")
	}
	cell := "m"
	return []driver.SandboxRows{{Table: shows[0].Table, Columns: shows[0].Columns, Rows: [][]*string{{&cell, nil}}}}, nil
}

func (b *boxes) VerifySandbox(context.Context, string, string) (driver.SandboxVerdict, error) {
	return driver.SandboxVerdict{Written: true}, nil
}

func (b *boxes) DiscardSandbox(context.Context, string) error {
	b.there = driver.Sandbox{}
	return nil
}

func (b *boxes) SandboxTrace(context.Context) (bool, error) { return false, nil }

func TestSandboxIsWorkedOnWhileItIsAskedForAndGoesInTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &boxes{}
		a := New(nil, nil, Options{Group: "g1", Member: "g1-b", Sandboxes: b, Logger: slog.New(slog.DiscardHandler)})
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- a.keepSandbox(ctx) }()
		ask := func(do wire.SandboxDo, run, attempt string) (wire.SandboxAnswer, error) {
			body, _ := json.Marshal(wire.SandboxRequest{Group: "g1", Do: do, Run: run, Attempt: attempt, Keep: 24 * time.Hour})
			out, err := a.sandbox(ctx, body)
			synctest.Wait()
			answer, _ := out.(wire.SandboxAnswer)
			return answer, err
		}
		if answer, err := ask(wire.SandboxClone, "r1", "1"); answer.Done || err != nil {
			t.Fatalf("%+v, %v", answer, err)
		}
		if _, err := ask(wire.SandboxClone, "r2", "1"); errs.KindOf(err) != errs.Conflict {
			t.Errorf("two at a time: %v", err)
		}
		// A node that takes the run over asks under an attempt of its own: what is under way goes on, and is looked at once it is over.
		if answer, err := ask(wire.SandboxClone, "r1", "1 of another node"); answer.Done || err != nil {
			t.Errorf("a second attempt of the same run: %+v, %v", answer, err)
		}
		time.Sleep(61 * time.Minute)
		if answer, err := ask(wire.SandboxClone, "r1", "1"); !answer.Done || answer.Sandbox.State != driver.SandboxCloned || err != nil {
			t.Errorf("%+v, %v", answer, err)
		}
		if answer, err := ask(wire.SandboxTransact, "r1", "1"); answer.Done || err != nil {
			t.Errorf("%+v, %v", answer, err)
		}
		if answer, err := ask(wire.SandboxTransact, "r1", "1"); !answer.Done || answer.Transacted == nil || !answer.Transacted.Refused || err != nil {
			t.Errorf("%+v, %v", answer, err)
		}
		ask(wire.SandboxOpen, "r1", "2")
		if answer, _ := ask(wire.SandboxOpen, "r1", "2"); answer.Error != "not alone" || answer.Kind != string(errs.Refused) {
			t.Errorf("%+v", answer)
		}
		// Nothing is shown before all of the masks were done, and what is read wrong does nothing.
		with := func(do wire.SandboxDo, attempt, masks string) wire.SandboxAnswer {
			t.Helper()
			body, _ := json.Marshal(wire.SandboxRequest{Group: "g1", Do: do, Run: "r1", Attempt: attempt, Masks: masks, Shows: `[{"table":"a.b","columns":["x","y"]}]`})
			for {
				out, err := a.sandbox(ctx, body)
				if err != nil {
					t.Fatal(err)
				}
				if answer := out.(wire.SandboxAnswer); answer.Done {
					return answer
				}
				synctest.Wait()
			}
		}
		const masks = `[{"table":"a.b","column":"x","as":"hash"}]`
		if got := with(wire.SandboxShow, "6", masks); got.Error != "not masked" || got.Shown != nil {
			t.Errorf("%+v", got)
		}
		if got := with(wire.SandboxMask, "7", ""); got.Kind != string(errs.Invalid) || got.Masked != nil {
			t.Errorf("%+v", got)
		}
		if got := with(wire.SandboxMask, "8", `[{`); got.Kind != string(errs.Invalid) {
			t.Errorf("%+v", got)
		}
		if got := with(wire.SandboxMask, "9", masks); got.Error != "" || got.Masked == nil || *got.Masked != (driver.SandboxMasked{Columns: 1, Rows: 7}) || got.Sandbox.Run != "r1" {
			t.Errorf("%+v", got)
		}
		if got := with(wire.SandboxShow, "10", masks); got.Error != "" || len(got.Shown) != 1 || *got.Shown[0].Rows[0][0] != "m" || got.Shown[0].Rows[0][1] != nil {
			t.Errorf("%+v", got)
		}
		// What is under way is given up for its own run's discard.
		ask(wire.SandboxClone, "r1", "3")
		ask(wire.SandboxDiscard, "r1", "4")
		ask(wire.SandboxDiscard, "r1", "4")
		if answer, err := ask(wire.SandboxDiscard, "r1", "4"); !answer.Done || answer.Error != "" || b.there.Run != "" || err != nil {
			t.Errorf("%+v, %v, left %+v", answer, err, b.there)
		}
		// A run that never comes back.
		ask(wire.SandboxClone, "r3", "5")
		time.Sleep(25 * time.Hour)
		synctest.Wait()
		if b.there.Run != "" {
			t.Errorf("left %+v", b.there)
		}
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}
