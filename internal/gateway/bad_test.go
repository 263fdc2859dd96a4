package gateway

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"perdure/internal/route"
	"perdure/internal/unit"
)

func TestMalformedRequestNeverReachesTheApplication(t *testing.T) {
	a := newApp(t, "app-a", "a", own(1, 5))
	w := start(t, func(o *Options) { o.MaxHeader = 4 << 10 })
	in := input(1, "a", own(1, 5), a)
	in.Systems[0].RequireKey = true
	in.Systems[0].Limits.MaxBody = 1000
	w.feed.put(t, in)
	const head = "POST /transfer HTTP/1.1\r\nHost: bank\r\nX-Account: acc-1\r\nIdempotency-Key: k1\r\n"
	for name, c := range map[string]struct {
		text   string
		status int
	}{
		"content length twice":                 {head + "Content-Length: 3\r\nContent-Length: 3\r\n\r\npay", 400},
		"content length twice, differing":      {head + "Content-Length: 3\r\nContent-Length: 30\r\n\r\npay", 400},
		"content length list":                  {head + "Content-Length: 3, 3\r\n\r\npay", 400},
		"content length signed":                {head + "Content-Length: +3\r\n\r\npay", 400},
		"content length in hex":                {head + "Content-Length: 0x3\r\n\r\npay", 400},
		"content length negative":              {head + "Content-Length: -3\r\n\r\npay", 400},
		"content length no number":             {head + "Content-Length: three\r\n\r\npay", 400},
		"content length overflow":              {head + "Content-Length: 99999999999999999999\r\n\r\npay", 400},
		"content length and chunked":           {head + "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n3\r\npay\r\n0\r\n\r\n", 400},
		"chunked and content length":           {head + "Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n3\r\npay\r\n0\r\n\r\n", 400},
		"chunked twice":                        {head + "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400},
		"chunked after another coding":         {head + "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 400},
		"identity coding":                      {head + "Transfer-Encoding: identity\r\nContent-Length: 3\r\n\r\npay", 400},
		"coding with a tab":                    {head + "Transfer-Encoding:\tchunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n", 400},
		"coding with an odd name":              {head + "Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n", 400},
		"coding with an underscore":            {head + "Transfer_Encoding: chunked\r\nContent-Length: 3\r\n\r\npay", 400},
		"chunk size broken":                    {head + "Transfer-Encoding: chunked\r\n\r\nzz\r\npay\r\n0\r\n\r\n", 400},
		"folded header":                        {head + "X-Long: a\r\n b\r\nContent-Length: 0\r\n\r\n", 400},
		"folded into a coding":                 {head + "X-Long: a\r\n Transfer-Encoding: chunked\r\nContent-Length: 0\r\n\r\n", 400},
		"bare line feed":                       {head + "X-Long: a\nContent-Length: 0\r\n\r\n", 400},
		"bare carriage return":                 {head + "X-Long: a\rb\r\nContent-Length: 0\r\n\r\n", 400},
		"zero byte":                            {head + "X-Long: a\x00b\r\nContent-Length: 0\r\n\r\n", 400},
		"name with a space":                    {head + "X Long: a\r\nContent-Length: 0\r\n\r\n", 400},
		"header without a name":                {head + ": a\r\nContent-Length: 0\r\n\r\n", 400},
		"header without a colon":               {head + "X-Long\r\nContent-Length: 0\r\n\r\n", 400},
		"no host":                              {"POST /transfer HTTP/1.1\r\nX-Account: acc-1\r\nIdempotency-Key: k1\r\nContent-Length: 0\r\n\r\n", 400},
		"two hosts":                            {head + "Host: other\r\nContent-Length: 0\r\n\r\n", 400},
		"absolute target":                      {strings.Replace(head, "/transfer", "http://evil/transfer", 1) + "Content-Length: 0\r\n\r\n", 400},
		"target with a fragment":               {strings.Replace(head, "/transfer", "/transfer#x", 1) + "Content-Length: 0\r\n\r\n", 400},
		"target in another alphabet":           {strings.Replace(head, "/transfer", "/überweisung", 1) + "Content-Length: 0\r\n\r\n", 400},
		"HTTP/2.0":                             {strings.Replace(head, "HTTP/1.1", "HTTP/2.0", 1) + "Content-Length: 0\r\n\r\n", 400},
		"HTTP/1.2":                             {strings.Replace(head, "HTTP/1.1", "HTTP/1.2", 1) + "Content-Length: 0\r\n\r\n", 400},
		"no HTTP at all":                       {"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03hello\r\n\r\n", 400},
		"CONNECT":                              {"CONNECT bank:443 HTTP/1.1\r\nHost: bank:443\r\n\r\n", 400},
		"TRACE":                                {"TRACE / HTTP/1.1\r\nHost: bank\r\nX-Account: acc-1\r\n\r\n", 405},
		"connection lists a header":            {head + "Connection: close, Idempotency-Key\r\nContent-Length: 0\r\n\r\n", 400},
		"head too large":                       {head + "X-Long: " + strings.Repeat("x", 5000) + "\r\nContent-Length: 0\r\n\r\n", 431},
		"target too large":                     {strings.Replace(head, "/transfer", "/"+strings.Repeat("x", 5000), 1) + "Content-Length: 0\r\n\r\n", 431},
		"body too large":                       {head + "Content-Length: 1001\r\n\r\n" + strings.Repeat("x", 1001), 413},
		"chunked body too large":               {head + "Transfer-Encoding: chunked\r\n\r\n" + strings.Repeat("64\r\n"+strings.Repeat("x", 100)+"\r\n", 11) + "0\r\n\r\n", 413},
		"no routing key":                       {"POST /transfer HTTP/1.1\r\nHost: bank\r\nIdempotency-Key: k1\r\nContent-Length: 0\r\n\r\n", 400},
		"two routing keys":                     {head + "X-Account: acc-2\r\nContent-Length: 0\r\n\r\n", 400},
		"routing key with a quote":             {strings.Replace(head, "acc-1", "acc'1", 1) + "Content-Length: 0\r\n\r\n", 400},
		"no idempotency key":                   {"POST /transfer HTTP/1.1\r\nHost: bank\r\nX-Account: acc-1\r\nContent-Length: 0\r\n\r\n", 400},
		"two idempotency keys":                 {head + "Idempotency-Key: k2\r\nContent-Length: 0\r\n\r\n", 400},
		"two idempotency keys, spelt apart":    {head + "Idempotency_Key: k2\r\nContent-Length: 0\r\n\r\n", 400},
		"idempotency key too long":             {strings.Replace(head, "k1", strings.Repeat("k", 256), 1) + "Content-Length: 0\r\n\r\n", 400},
		"idempotency key with a space inside":  {strings.Replace(head, "k1", "k 1", 1) + "Content-Length: 0\r\n\r\n", 400},
		"idempotency key empty":                {strings.Replace(head, "k1", "", 1) + "Content-Length: 0\r\n\r\n", 400},
		"idempotency key of nothing quoted":    {strings.Replace(head, "k1", `""`, 1) + "Content-Length: 0\r\n\r\n", 400},
		"idempotency key without a last quote": {strings.Replace(head, "k1", `"k1`, 1) + "Content-Length: 0\r\n\r\n", 400},
		"idempotency key after its last quote": {strings.Replace(head, "k1", `"k1"k`, 1) + "Content-Length: 0\r\n\r\n", 400},
		"idempotency key with an odd escape":   {strings.Replace(head, "k1", `"k\1"`, 1) + "Content-Length: 0\r\n\r\n", 400},
		"idempotency key bare, parameters":     {strings.Replace(head, "k1", `k1;a=b`, 1) + "Content-Length: 0\r\n\r\n", 400},
		"idempotency key quoted too long":      {strings.Replace(head, "k1", `"`+strings.Repeat("k", 256)+`"`, 1) + "Content-Length: 0\r\n\r\n", 400},
		"two callers":                          {head + "Perdure-Caller: a\r\nPerdure-Caller: b\r\nContent-Length: 0\r\n\r\n", 400},
	} {
		t.Run(name, func(t *testing.T) {
			w := &world{TB: t, g: w.g}
			status, body := w.raw(c.text)
			if status != c.status {
				t.Errorf("got %d %s, want %d", status, body, c.status)
			}
			var p struct {
				Type, Title, Detail, Instance string
				Status                        int
			}
			if err := json.Unmarshal([]byte(body), &p); err != nil || p.Type == "" || p.Title == "" || p.Detail == "" || p.Status != c.status {
				t.Errorf("the answer is no problem document: %q, %v", body, err)
			}
		})
	}
	if seen := a.requests(); len(seen) != 0 {
		t.Errorf("the application was reached by %q", seen)
	}
	// And a second request hidden behind a refused one is never read.
	status, _ := w.raw(head + "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + head + "Content-Length: 3\r\n\r\npay")
	if status != 400 || len(a.requests()) != 0 {
		t.Errorf("status %d, the application was reached by %q", status, a.requests())
	}
}

func TestWellFormedRequestsOfEveryShapeAreForwarded(t *testing.T) {
	a := newApp(t, "app-a", "a", own(1, 5))
	w := start(t, nil)
	w.feed.put(t, input(1, "a", own(1, 5), a))
	const head = " /transfer?a=%20b HTTP/1.1\r\nHost: bank\r\nX-Account: acc-1\r\nIdempotency-Key: \"k1\"\r\nConnection: close\r\n"
	for name, text := range map[string]string{
		"chunked":                    "POST" + head + "Transfer-Encoding: Chunked\r\n\r\n1\r\np\r\n2;x=y\r\nay\r\n0\r\nX-Trailer: z\r\n\r\n",
		"content length":             "POST" + head + "Content-Length: 3\r\n\r\npay",
		"expecting a go-ahead":       "POST" + head + "Expect: 100-continue\r\nContent-Length: 3\r\n\r\npay",
		"no body":                    "POST" + head + "Content-Length: 0\r\n\r\n",
		"read":                       "GET" + head + "\r\n",
		"read with a body":           "GET" + head + "Content-Length: 3\r\n\r\npay",
		"HTTP/1.0":                   "POST" + strings.Replace(head, "HTTP/1.1", "HTTP/1.0", 1) + "Content-Length: 3\r\n\r\npay",
		"empty lines before":         "\r\n\r\nPOST" + head + "Content-Length: 3\r\n\r\npay",
		"other methods":              "DELETE" + head + "\r\n",
		"upgrade is not passed on":   "POST" + strings.Replace(head, "close", "close, Upgrade", 1) + "Upgrade: h2c\r\nContent-Length: 3\r\n\r\npay",
		"header names of any letter": "POST /transfer HTTP/1.1\r\nhOsT: bank\r\nx-aCCOUNT: acc-1\r\nidempotency-KEY: k1\r\nConnection: close\r\ncontent-LENGTH: 3\r\n\r\npay",
	} {
		t.Run(name, func(t *testing.T) {
			w := &world{TB: t, g: w.g}
			if status, body := w.raw(text); status != 200 && status != 100 {
				t.Errorf("%d %s", status, body)
			}
			r := w.arrival(a)
			if r.Header.Get("Upgrade") != "" || r.Header.Get("Expect") != "" || len(r.TransferEncoding) > 0 || len(r.Header.Values("Idempotency-Key")) != 1 {
				t.Errorf("passed on: %v %v", r.TransferEncoding, r.Header)
			}
		})
	}
}

func TestHeadIsAnsweredWithoutBody(t *testing.T) {
	a := newApp(t, "app-a", "a", own(1, 5))
	w := start(t, nil)
	w.feed.put(t, input(1, "a", own(1, 5), a))
	for range 3 { // the connection has to stay usable
		got := w.do("HEAD", "/balance", "", "X-Account: acc-1")
		if got.status != 200 || got.body != "" || got.err != nil || got.header.Get("Perdure-Ownership") != "1.x.5" {
			t.Fatal(got, got.header)
		}
	}
}

func TestRoutingKeyComesFromTheBody(t *testing.T) {
	a, b := newApp(t, "app-a", "a", own(1, 5)), newApp(t, "app-b", "b", own(1, 6))
	w := start(t, nil)
	in := input(1, "a", own(1, 5), a, b)
	in.Systems[0].Keys = []route.KeySource{{From: route.FromJSON, Name: "from"}}
	in.Systems[0].Units = []route.Unit{{ID: "u1", Slots: []route.SlotRange{{First: 0, Last: 511}}}, {ID: "u2", Slots: []route.SlotRange{{First: 512, Last: 1023}}}}
	second := in.Owners[0]
	second.Group, second.Units, second.Site, second.Ownership = "g2", nil, "b", own(1, 6)
	second.Units = append(second.Units, "u2")
	in.Owners = append(in.Owners, second)
	w.feed.put(t, in)
	seen := map[string]int{}
	for n := range 20 {
		body := fmt.Sprintf(`{"to":"x","from":"acc-%d"}`, n*7919)
		got := w.do("POST", "/transfer", body, fmt.Sprintf("Idempotency-Key: k%d", n))
		if got.status != 200 || !strings.HasSuffix(got.body, body) {
			t.Fatal(got)
		}
		slot, _ := w.g.view.Load().systems[0].Lookup(fmt.Appendf(nil, "acc-%d", n*7919))
		if want := map[bool]string{true: "app-a", false: "app-b"}[slot < 512]; !strings.HasPrefix(got.body, want) {
			t.Errorf("slot %d was served by %s", slot, got.body)
		}
		seen[got.body[:5]]++
	}
	if len(seen) != 2 {
		t.Errorf("served by %v", seen)
	}
	if got := w.do("POST", "/transfer", `{"from":"a","From":"b"}`, "Idempotency-Key: k"); got.status != 400 {
		t.Error(got)
	}
}

func TestLimitsAreKept(t *testing.T) {
	a := newApp(t, "app-a", "a", own(1, 5))
	w := start(t, nil)
	in := input(1, "a", own(1, 5), a)
	in.Systems[0].Limits = route.Limits{Rate: 0.0001, Burst: 2}
	w.feed.put(t, in)
	for i, want := range []int{200, 200, 429, 429} {
		if got := w.keyed(fmt.Sprint("k", i)); got.status != want {
			t.Errorf("request %d: %v, want %d", i, got, want)
		} else if want == 429 && got.header.Get("Retry-After") == "" {
			t.Error("429 without Retry-After")
		}
	}
	next := input(2, "a", own(1, 5), a)
	next.Systems[0].Limits = route.Limits{MaxConcurrent: 1}
	w.feed.put(t, next)
	for len(a.arrived) > 0 {
		w.arrival(a)
	}
	wait := make(chan struct{})
	a.set(func() { a.before = func(r *http.Request) { <-wait } })
	first := begin(func() answer { return w.keyed("slow") })
	w.arrival(a)
	if got := w.keyed("shed"); got.status != 503 || !strings.Contains(got.body, "concurrency") || got.header.Get("Retry-After") == "" {
		t.Error(got)
	}
	close(wait)
	if got := w.answered(first); got.status != 200 {
		t.Error(got)
	}
}

func TestHeldRequestsCountAsInFlight(t *testing.T) {
	a := newApp(t, "app-a", "a", own(1, 5))
	w := start(t, nil)
	in := with(input(1, "a", own(1, 5), a), state(unit.Closed, ""))
	in.Systems[0].Limits = route.Limits{MaxConcurrent: 2}
	w.feed.put(t, in)
	held := []<-chan answer{begin(func() answer { return w.keyed("k1") }), begin(func() answer { return w.keyed("k2") })}
	w.until("both are held", func() bool { return w.held() == 2 })
	if got := w.keyed("k3"); got.status != 503 || !strings.Contains(got.body, "concurrency") {
		t.Error(got)
	}
	open := input(2, "a", own(1, 6), a)
	open.Systems[0].Limits = in.Systems[0].Limits
	w.feed.put(t, open)
	a.set(func() { a.ownership = own(1, 6) })
	for _, c := range held {
		if got := w.answered(c); got.status != 200 {
			t.Error(got)
		}
	}
	if got := w.keyed("k4"); got.status != 200 {
		t.Errorf("after the hold: %v", got)
	}
}

// FuzzScan: whatever header block comes in, what is passed on has none of the headers the gateway itself writes or owns.
func FuzzScan(f *testing.F) {
	f.Add([]byte("Host: x\r\nContent-Length: 3\r\nX-A: b\r\n\r\n"))
	f.Add([]byte("perdure_unit: x\r\nTransfer-Encoding: chunked\r\n\r\n"))
	f.Add([]byte("Connection: close, x\r\n\r\n"))
	f.Add([]byte("Idempotency-Key: \"a \\\"b\" ;c=d\r\n\r\n"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		x := &exchange{}
		if p := x.scan(raw, route.DefaultKeyHeader); p != nil {
			return
		}
		keys := 0
		for line := range strings.SplitSeq(string(x.wire), "\r\n") {
			if strings.ContainsAny(line, "\r\n") {
				t.Fatalf("passed on a line end inside %q", line)
			}
			name, _, ok := strings.Cut(strings.ToLower(strings.ReplaceAll(line, "_", "-")), ":")
			if !ok && line != "" {
				t.Fatalf("passed on %q", line)
			}
			switch {
			case strings.HasPrefix(name, "perdure-"), name == "content-length", name == "transfer-encoding", name == "connection", name == "te", name == "upgrade", name == "expect":
				t.Fatalf("passed on %q", line)
			case name == "idempotency-key":
				keys++
				if _, value, _ := strings.Cut(line, ": "); !recordedAs(value, x.idem) {
					t.Fatalf("the application records %q under another key than %q", value, x.idem)
				}
			}
		}
		if keys > 1 {
			t.Fatalf("passed on %d idempotency keys", keys)
		}
	})
}

func TestPortInUseIsSaidPlainly(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	_, err = New(Options{Listen: ln.Addr().String()}, nil)
	if err == nil || !strings.Contains(err.Error(), "cannot listen on "+ln.Addr().String()) {
		t.Fatal(err)
	}
}

func TestClientsThatAreTooSlowAreLetGo(t *testing.T) {
	a := newApp(t, "app-a", "a", own(1, 5))
	w := start(t, func(o *Options) { o.ReadTimeout = 1100 * time.Millisecond })
	w.feed.put(t, input(1, "a", own(1, 5), a))
	for name, text := range map[string]string{
		"silent":           "",
		"silent in a head": "POST /transfer HTTP/1.1\r\nHost: ba",
		"silent in a body": "POST /transfer HTTP/1.1\r\nHost: bank\r\nX-Account: acc-1\r\nContent-Length: 10\r\n\r\npa",
		"silent after one": "GET /balance HTTP/1.1\r\nHost: bank\r\nX-Account: acc-1\r\n\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c, err := net.Dial("tcp", w.g.Addr())
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			if _, err := io.WriteString(c, text); err != nil {
				t.Fatal(err)
			}
			_ = c.SetDeadline(time.Now().Add(patience))
			got, err := io.ReadAll(c)
			if err != nil {
				t.Fatalf("the connection was not closed: %v", err)
			}
			want := map[string]string{"silent in a head": "408", "silent in a body": "408", "silent after one": "200"}[name]
			if !strings.HasPrefix(string(got), strings.TrimSpace("HTTP/1.1 "+want)) && want != "" {
				t.Errorf("got %q, want %s", got, want)
			}
		})
	}
}
