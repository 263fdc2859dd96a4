package store_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"perdure/internal/errs"
	"perdure/internal/evaluation"
	"perdure/internal/measure"
	"perdure/internal/rectification"
	"perdure/internal/store"
	"perdure/internal/wire"
)

// TestSheetIsThereOnceAndHasEveryWordOfSeveralPeople who open it and talk to it at once.
func TestSheetIsThereOnceAndHasEveryWordOfSeveralPeople(t *testing.T) {
	s, _ := one(t)
	const people = 6
	var all sync.WaitGroup
	for n := range people {
		all.Go(func() {
			who := fmt.Sprintf("p%d", n)
			sheet, err := rectification.Begin(&evaluation.Evaluation{Measures: &measure.Measures{Run: "r", End: time.Now()}}, who, time.Now().UTC())
			if err != nil {
				t.Error(err)
				return
			}
			if _, err := s.OpenSheet(t.Context(), "person:"+who, sheet); err != nil {
				t.Error(err)
				return
			}
			if _, err = s.SaySheet(t.Context(), "r", rectification.Change{What: rectification.Add, By: who, Text: "found by " + who}); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	sheet, err := s.Sheet(t.Context(), "r", wire.Fresh)
	if err != nil || len(sheet.Items) != people || sheet.Seq != 1+people {
		t.Fatalf("%+v, %v", sheet, err)
	}
	events, err := s.Events(t.Context(), 0, store.EventsLimit, false, wire.Fresh)
	if err != nil {
		t.Fatal(err)
	}
	opened, added := 0, map[string]bool{}
	for _, e := range events {
		switch e.What {
		case "rectification.opened":
			opened++
		case "rectification.added":
			added[e.Who] = true
		}
	}
	if opened != 1 || len(added) != people {
		t.Errorf("%d were opened, %v added", opened, added)
	}
	before := sheet.Revision
	if sheet, err = s.SaySheet(t.Context(), "r", rectification.Change{What: rectification.Add, By: "p0", Text: "found by p0"}); err != nil || sheet.Revision != before {
		t.Errorf("the same word again: %+v, %v", sheet, err)
	}
	if _, err := s.SaySheet(t.Context(), "none", rectification.Change{What: rectification.Add, By: "p0", Text: "x"}); errs.KindOf(err) != errs.NotFound || !strings.Contains(err.Error(), "rectification open") {
		t.Error(err)
	}
	if list, err := s.Sheets(t.Context(), wire.Fresh); err != nil || len(list) != 1 {
		t.Errorf("%+v, %v", list, err)
	}
}
