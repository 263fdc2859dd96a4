package agent

import (
	"context"
	"encoding/json"
	"os"
	"testing"

	"perdure/internal/driver"
)

// many is a former owner that diverged for minutes.
type many struct{ driver.Database }

func (d many) Diverged(ctx context.Context, up driver.Upstream) (driver.Diverged, error) {
	out, err := d.Database.Diverged(ctx, up)
	out.Transactions = make([]driver.DivergedTransaction, listedMost+1)
	return out, err
}

func TestLongListOfDivergenceIsKeptWholeAtTheMemberAndReportedInPart(t *testing.T) {
	inBed(t, nil, func(d *bed) {
		d.drivers[a] = func(db driver.Database) driver.Database { return many{db} }
		d.up()
		d.net.Kill(a)
		d.eventually("the copy is open", func() bool { return d.openAt(b) })
		d.eventually("the former owner is a copy in the set", d.whole)
		var report, kept driver.Diverged
		if err := json.Unmarshal(d.plane.divergences[0].Report, &report); err != nil {
			t.Fatal(err)
		}
		if report.Total != listedMost+1 || len(report.Transactions) != listedMost {
			t.Fatalf("%d of %d are reported", len(report.Transactions), report.Total)
		}
		text, err := os.ReadFile(report.Kept)
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(text, &kept); err != nil || len(kept.Transactions) != listedMost+1 {
			t.Errorf("%d are kept, %v", len(kept.Transactions), err)
		}
	})
}
