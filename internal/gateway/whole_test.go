package gateway

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"perdure/internal/route"
)

// noted appends an entry as an exchange would.
func noted(l *ledger, key, receipt string) bool {
	x := &exchange{system: &systemView{SystemTable: &route.SystemTable{}}, unit: &unitView{entry: route.Entry{Unit: "u1"}}}
	x.idem, x.receipt = []byte(key), []byte(receipt)
	return l.append(x, time.Now().UnixMilli())
}

func opened(t *testing.T, dir string, o LedgerOptions) *ledger {
	t.Helper()
	o.defaults()
	l, err := openLedger(dir, "a", o)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func whole(t *testing.T, l *ledger) (begins int64, files []uint64) {
	t.Helper()
	files, err := ledgerFiles(filepath.Join(l.dir, "a"))
	if err != nil {
		t.Fatal(err)
	}
	ends, err := l.ends()
	if err != nil || len(ends) != 1 {
		t.Fatalf("%+v %v", ends, err)
	}
	return ends[0].Begins, files
}

func TestLedgerIsWholeOverRestartsAndTornLines(t *testing.T) {
	dir := t.TempDir()
	for range 3 {
		l := opened(t, dir, LedgerOptions{FileBytes: 200})
		for _, key := range []string{"k1", "k2", "k3"} {
			noted(l, key, `{"seq":1}`)
			if err := l.flush(); err != nil {
				t.Fatal(err)
			}
		}
		// Killed in the middle of a line.
		f, err := os.OpenFile(l.path("a", l.num), os.O_WRONLY|os.O_APPEND, 0)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.WriteString(`{"at":17,"un`); err != nil {
			t.Fatal(err)
		}
	}
	begins, files := whole(t, opened(t, dir, LedgerOptions{}))
	if len(files) < 6 || begins != int64(files[0]) {
		t.Errorf("it begins at %d, its files are %d", begins, files)
	}
}

func TestLedgerThatDroppedEntriesBeginsAnew(t *testing.T) {
	l := opened(t, t.TempDir(), LedgerOptions{Buffer: 100})
	for noted(l, "k", `{"seq":1}`) {
	}
	for range 2 { // what is there is written; the next file says what is missing
		if err := l.flush(); err != nil {
			t.Fatal(err)
		}
	}
	begins, files := whole(t, l)
	if len(files) != 2 || begins != int64(files[1]) {
		t.Errorf("it begins at %d, its files are %d", begins, files)
	}
	if h, err := headOf(l.path("a", files[1])); err != nil || h.Lost != 1 {
		t.Errorf("%+v %v", h, err)
	}
}

func TestCopyOfALedgerThatLacksAPartBeginsBehindIt(t *testing.T) {
	own, there := opened(t, t.TempDir(), LedgerOptions{FileBytes: 1}), opened(t, t.TempDir(), LedgerOptions{})
	if err := os.RemoveAll(filepath.Join(there.dir, "a")); err != nil {
		t.Fatal(err)
	}
	ship := func() {
		t.Helper()
		at := position{}
		for {
			chunk, from, err := own.read(at)
			if err != nil {
				t.Fatal(err)
			}
			if len(chunk) == 0 {
				return
			}
			if at, err = there.copyIn("a", from, chunk); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, key := range []string{"k1", "k2", "k3"} {
		noted(own, key, `{"seq":1}`)
		if err := own.flush(); err != nil {
			t.Fatal(err)
		}
	}
	ship()
	if begins, files := whole(t, there); len(files) != 3 || begins != int64(files[0]) {
		t.Errorf("the whole copy begins at %d, its files are %d", begins, files)
	}
	_, files := whole(t, there)
	if err := os.Remove(there.path("a", files[1])); err != nil { // as when the sender had removed it before it was shipped
		t.Fatal(err)
	}
	if begins, _ := whole(t, there); begins != int64(files[2]) {
		t.Errorf("it begins at %d, with a file missing before %d", begins, files[2])
	}
}

func TestPaymentWhoseReceiptCannotBeKeptIsKeptByItsKey(t *testing.T) {
	l := opened(t, t.TempDir(), LedgerOptions{})
	for key, receipt := range map[string]string{"none": "", "torn": `{"seq":`, "large": `{"accounts":["` + strings.Repeat("a", maxReceipt) + `"]}`, "good": `{"seq":1,"amount":"2","accounts":["x"]}`} {
		noted(l, key, receipt)
	}
	if err := l.flush(); err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	if err := l.each(ledgerFilter{}, func(e *Entry) error { seen[e.Key] = e.Unknown; return nil }); err != nil {
		t.Fatal(err)
	}
	if len(seen) != 4 || !seen["none"] || !seen["torn"] || !seen["large"] || seen["good"] {
		t.Errorf("unknown accounts: %v", seen)
	}
}
