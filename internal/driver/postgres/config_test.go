package postgres

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"perdure/internal/estate"
)

func TestSyncNamesListAll(t *testing.T) {
	for _, c := range []struct {
		names []string
		text  string
	}{
		{nil, ""},
		{[]string{"u1-b.4"}, `FIRST 1 ("u1-b.4")`},
		{[]string{"u1-b.4", "u1-c.1"}, `FIRST 2 ("u1-b.4", "u1-c.1")`},
	} {
		if got := syncNames(c.names); got != c.text {
			t.Errorf("%v: %s", c.names, got)
		}
		if diff := cmp.Diff(c.names, parseSyncNames(c.text)); diff != "" {
			t.Error(diff)
		}
	}
	for text, want := range map[string][]string{
		"s1, s2": {"s1", "s2"}, "ANY 1 (s1,\"s 2\")": {"s1", "s 2"}, "*": {"*"}, " ": nil,
	} {
		if diff := cmp.Diff(want, parseSyncNames(text)); diff != "" {
			t.Errorf("%q: %s", text, diff)
		}
	}
}

func TestHistoriesPartWhereTheFirstOneLeaves(t *testing.T) {
	for _, c := range []struct {
		name         string
		mine, theirs []span
		at           estate.LSN
		ok           bool
	}{
		{"the same, both go on", []span{{1, 0}}, []span{{1, 0}}, 0, true},
		{"they were promoted at 100", []span{{1, 0}}, []span{{1, 100}, {2, 0}}, 100, true},
		{"we were promoted at 100, they did not notice", []span{{1, 100}, {2, 0}}, []span{{1, 0}}, 100, true},
		{"both were promoted, they later", []span{{1, 100}, {2, 0}}, []span{{1, 120}, {3, 0}}, 100, true},
		{"both were promoted to one number at different places", []span{{1, 100}, {2, 0}}, []span{{1, 120}, {2, 0}}, 100, true},
		{"both were promoted at one place to different numbers", []span{{1, 100}, {2, 0}}, []span{{1, 100}, {3, 0}}, 100, true},
		{"they went on from our timeline", []span{{1, 100}, {2, 0}}, []span{{1, 100}, {2, 200}, {3, 0}}, 200, true},
		{"nothing in common", []span{{2, 0}}, []span{{1, 0}}, 0, false},
	} {
		if at, ok := fork(c.mine, c.theirs); at != c.at || ok != c.ok {
			t.Errorf("%s: %s %v", c.name, at, ok)
		}
	}
}

func TestLogLinesAreRead(t *testing.T) {
	e, ok := parseLogLine("rmgr: Transaction len (rec/tot):     46/    46, tx:        748, lsn: 0/01912CE8, prev 0/01912CB0, desc: COMMIT 2026-11-21 21:50:00.123456 UTC; subxacts: 749 750; origin: node 1")
	want := logEntry{manager: "Transaction", length: 46, xid: 748, at: 0x1912CE8, text: "COMMIT 2026-11-21 21:50:00.123456 UTC; subxacts: 749 750; origin: node 1"}
	if !ok || e != want {
		t.Errorf("%+v", e)
	}
	if diff := cmp.Diff([]uint32{749, 750}, subtransactions(e.text)); diff != "" {
		t.Error(diff)
	}
	got := relations("UPDATE off 3 xmax 741 flags 0x00 ; new off 9 xmax 0, blkref #0: rel 1663/16384/16401 blk 0, blkref #1: rel 1663/16384/16402 fork vm blk 2")
	if len(got) != 2 || got[0] != (relation{16384, 16401}) || got[1] != (relation{16384, 16402}) {
		t.Errorf("%+v", got)
	}
	for _, bad := range []string{"", "pg_waldump: first record is after 0/3000000", "rmgr: Heap len (rec/tot): x/y, tx: 1, lsn: 0/1, desc: z"} {
		if _, ok := parseLogLine(bad); ok {
			t.Errorf("%q was read", bad)
		}
	}
}

func TestSettingsSurviveQuoting(t *testing.T) {
	for _, v := range []string{"", "plain", `it's`, `back\slash`, `both \' of them`, "two\nlines", `a'b\c''d`} {
		if got := unquoteSetting(quoteSetting(v)); got != v {
			t.Errorf("%q became %q", v, got)
		}
	}
}

func TestNamesOfMembersStayApart(t *testing.T) {
	seen := map[string]estate.MemberID{}
	for _, id := range []estate.MemberID{"u1-a", "u1_a", "U1-a", "u1.a", "u1-a-x2e", "a-very-long-name-of-a-member-that-nobody-would-choose-1", "a-very-long-name-of-a-member-that-nobody-would-choose-2"} {
		slot := SlotOf(id)
		if other, taken := seen[slot]; taken {
			t.Errorf("%s and %s share slot %s", id, other, slot)
		}
		if seen[slot] = id; len(slot) > 63 || len(RoleOf(id)) > 63 {
			t.Errorf("%s is too long", slot)
		}
	}
}
