package app

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"perdure/internal/controller"
)

const kept = `{"at":1700000000123,"system":"bank","unit":"u1","ownership":"1.x.3","caller":"c","routingKey":"账户-1","key":"k1","receipt":{"seq":7,"amount":"12.50","accounts":["a","b"]},"from":"a"}
{"at":1700000000456,"system":"bank","unit":"u1","ownership":"1.x.4","caller":"c","routingKey":"r","key":"k2","receipt":{"seq":6,"amount":"1","accounts":["a"]},"from":"b"}
`

func TestReceiptsAreReadFromTheFirstGatewayThatAnswers(t *testing.T) {
	var asked []string
	live := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked = append(asked, r.URL.Query().Encode())
		_, _ = io.WriteString(w, kept)
	}))
	defer live.Close()
	refusing := httptest.NewServer(http.NotFoundHandler())
	defer refusing.Close()
	r := receipts{client: live.Client(), gateways: []Peer{{Name: "b", URL: refusing.URL}, {Name: "c", URL: live.URL}}}

	var got []controller.Kept
	source, err := r.Since(t.Context(), "u1", time.UnixMilli(1_699_999_970_000), func(k controller.Kept) error { got = append(got, k); return nil })
	if err != nil || !strings.HasSuffix(source, "gateway c") || len(got) != 2 {
		t.Fatalf("%q, %v: %+v", source, err, got)
	}
	if got[0].Ownership.String() != "1.x.3" || got[1].Ownership.String() != "1.x.4" {
		t.Errorf("ownerships %s and %s", got[0].Ownership, got[1].Ownership)
	}
	if k := got[0]; k.RoutingKey != "账户-1" || k.Key != "k1" || k.Amount != "12.50" || len(k.Accounts) != 2 || k.At.UnixMilli() != 1_700_000_000_123 {
		t.Errorf("%+v", k)
	}
	if _, err := r.Since(t.Context(), "u1", time.Time{}, func(controller.Kept) error { return nil }); err != nil {
		t.Fatal(err)
	}
	if want := []string{"since=1699999970000&unit=u1", "unit=u1"}; strings.Join(asked, " ") != strings.Join(want, " ") {
		t.Errorf("asked for %q, want %q", asked, want)
	}
}

func TestReceiptsThatBreakOffAreNotTakenForAll(t *testing.T) {
	torn := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
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
