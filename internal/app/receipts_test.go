package app

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"perdure/internal/controller"
	"perdure/internal/gateway"
)

const kept = `{"at":1700000000123,"system":"bank","unit":"u1","ownership":"1.x.3","caller":"c","routingKey":"账户-1","key":"k1","receipt":{"seq":7,"amount":"12.50","accounts":["a","b"]},"from":"a"}
{"at":1700000000456,"system":"bank","unit":"u1","ownership":"1.x.4","caller":"c","routingKey":"r","key":"k2","receipt":{"seq":6,"amount":"1","accounts":["a"]},"from":"b"}
`

// ledgerKeeper is a gateway that holds ledgers; what it is asked for is noted.
func ledgerKeeper(t *testing.T, name string, asked *[]string, entries string, ends ...gateway.LedgerEnd) Peer {
	t.Helper()
	mux := http.NewServeMux()
	mux.HandleFunc("GET /ledgers", func(w http.ResponseWriter, _ *http.Request) { _ = json.NewEncoder(w).Encode(ends) })
	mux.HandleFunc("GET /ledger", func(w http.ResponseWriter, r *http.Request) {
		*asked = append(*asked, name+"?"+r.URL.Query().Encode())
		_, _ = io.WriteString(w, entries)
	})
	s := httptest.NewServer(mux)
	t.Cleanup(s.Close)
	return Peer{Name: name, URL: s.URL}
}

func end(from string, begins int64, file uint64, offset int64) gateway.LedgerEnd {
	return gateway.LedgerEnd{From: from, Begins: begins, Grown: 1_700_000_000_000, File: file, Offset: offset}
}

// The copies of a lost gateway's ledger may end at different places: a link to one of them may have been cut long before.
func TestReceiptsOfALostGatewayAreReadFromWhoeverHasMostOfThem(t *testing.T) {
	var asked []string
	b := ledgerKeeper(t, "b", &asked, "", end("a", 1000, 7, 100), end("b", 1000, 9, 5), end("c", 3000, 9, 5))
	c := ledgerKeeper(t, "c", &asked, kept, end("a", 1000, 7, 900), end("b", 1000, 8, 900), end("c", 3000, 9, 6))
	refusing := httptest.NewServer(http.NotFoundHandler())
	defer refusing.Close()
	r := receipts{client: http.DefaultClient, gateways: []Peer{{Name: "a", URL: refusing.URL}, b, c, {Name: "d", URL: refusing.URL}}}

	var got []controller.Kept
	sources, err := r.Since(t.Context(), "u1", time.UnixMilli(1_699_999_970_000), func(k controller.Kept) error { got = append(got, k); return nil })
	if err != nil {
		t.Fatal(err)
	}
	if want := []string{"c?from=a&since=1699999970000&unit=u1", "b?from=b&since=1699999970000&unit=u1", "c?from=c&since=1699999970000&unit=u1"}; !slices.Equal(asked, want) {
		t.Errorf("asked was %q, want %q", asked, want)
	}
	if sources.From.UnixMilli() != 3000 || !slices.Equal(sources.Missing, []string{"d"}) {
		t.Errorf("%+v", sources)
	}
	if want := "receipts kept at gateway b, c, those of gateway a as the copy at c has them, which last grew at 2023-11-14T22:13:20Z"; sources.Said != want {
		t.Errorf("%q, want %q", sources.Said, want)
	}
	if len(got) != 4 || got[0].Ownership.String() != "1.x.3" || got[1].Ownership.String() != "1.x.4" {
		t.Errorf("%+v", got)
	}
	if k := got[0]; k.RoutingKey != "账户-1" || k.Key != "k1" || k.Amount != "12.50" || len(k.Accounts) != 2 || k.At.UnixMilli() != 1_700_000_000_123 {
		t.Errorf("%+v", k)
	}
	asked = nil
	if _, err := r.Since(t.Context(), "u1", time.Time{}, func(controller.Kept) error { return nil }); err != nil || asked[0] != "c?from=a&unit=u1" {
		t.Errorf("%q, %v", asked, err)
	}
	r.gateways = r.gateways[:1]
	if _, err := r.Since(t.Context(), "u1", time.Time{}, func(controller.Kept) error { return nil }); err == nil || !strings.Contains(err.Error(), "gateway a: ") {
		t.Errorf("nobody answers: %v", err)
	}
}

func TestReceiptsThatBreakOffAreNotTakenForAll(t *testing.T) {
	torn := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/ledgers" {
			_, _ = fmt.Fprint(w, `[{"from":"c","begins":1,"file":1,"offset":1}]`)
			return
		}
		_, _ = io.WriteString(w, kept)
		w.(http.Flusher).Flush()
		panic(http.ErrAbortHandler)
	}))
	defer torn.Close()
	r := receipts{client: torn.Client(), gateways: []Peer{{Name: "c", URL: torn.URL}}}
	seen := 0
	if _, err := r.Since(t.Context(), "u1", time.Time{}, func(controller.Kept) error { seen++; return nil }); err == nil || seen != 2 {
		t.Errorf("%d receipts, error %v", seen, err)
	}
	enough := errors.New("enough")
	if _, err := r.Since(t.Context(), "u1", time.Time{}, func(controller.Kept) error { return enough }); !errors.Is(err, enough) {
		t.Errorf("error %v", err)
	}
}
