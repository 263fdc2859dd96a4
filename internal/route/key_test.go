package route

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/url"
	"strings"
	"testing"

	"perdure/internal/estate"
)

// fixed is a request made of values.
type fixed struct {
	path, query, body string
	headers           map[string][]string
	cookies           map[string]string
}

func (f *fixed) Path() []byte  { return []byte(f.path) }
func (f *fixed) Query() []byte { return []byte(f.query) }
func (f *fixed) Body() []byte  { return []byte(f.body) }

func (f *fixed) Header(name string) ([]byte, bool) {
	switch v := f.headers[name]; len(v) {
	case 0:
		return nil, false
	case 1:
		return []byte(v[0]), false
	}
	return nil, true
}

func (f *fixed) Cookie(name string) []byte {
	if v, ok := f.cookies[name]; ok {
		return []byte(v)
	}
	return nil
}

func systemOf(t testing.TB, keys ...KeySource) *SystemTable {
	t.Helper()
	in := testInput()
	in.Systems[0].Keys = keys
	table, err := Compile(in)
	if err != nil {
		t.Fatal(err)
	}
	return table.Systems[0]
}

func TestRoutingKeyIsTakenFromWhereTheSystemSays(t *testing.T) {
	header, query := KeySource{From: FromHeader, Name: "X-Account"}, KeySource{From: FromQuery, Name: "account"}
	path := KeySource{From: FromPath, Name: "/accounts/{key}/**"}
	field := KeySource{From: FromJSON, Name: "from.account"}
	for _, c := range []struct {
		name string
		keys []KeySource
		req  fixed
		want string
		err  error
	}{
		{"header", []KeySource{header}, fixed{headers: map[string][]string{"X-Account": {"a1"}}}, "a1", nil},
		{"two headers", []KeySource{header}, fixed{headers: map[string][]string{"X-Account": {"a1", "a2"}}}, "", ErrAmbiguousKey},
		{"header missing", []KeySource{header}, fixed{}, "", ErrNoKey},
		{"header empty", []KeySource{header}, fixed{headers: map[string][]string{"X-Account": {""}}}, "", ErrBadKey},
		{"header with a space", []KeySource{header}, fixed{headers: map[string][]string{"X-Account": {"a 1"}}}, "", ErrBadKey},
		{"header too long", []KeySource{header}, fixed{headers: map[string][]string{"X-Account": {strings.Repeat("a", 129)}}}, "", ErrBadKey},
		{"header of the greatest length", []KeySource{header}, fixed{headers: map[string][]string{"X-Account": {strings.Repeat("a", 128)}}}, strings.Repeat("a", 128), nil},
		{"query", []KeySource{query}, fixed{query: "x=1&account=a%2D1&y"}, "a-1", nil},
		{"query with an escaped name", []KeySource{query}, fixed{query: "%61ccount=a1"}, "a1", nil},
		{"query twice", []KeySource{query}, fixed{query: "account=a1&account=a2"}, "", ErrAmbiguousKey},
		{"query twice, once escaped", []KeySource{query}, fixed{query: "account=a1&acc%6Funt=a2"}, "", ErrAmbiguousKey},
		{"query with plus", []KeySource{query}, fixed{query: "account=a+1"}, "", ErrBadKey},
		{"query broken", []KeySource{query}, fixed{query: "account=a%2"}, "", ErrBadKey},
		{"query with a line end", []KeySource{query}, fixed{query: "account=a%0d%0aX:1"}, "", ErrBadKey},
		{"path", []KeySource{path}, fixed{path: "/accounts/a1/balance"}, "a1", nil},
		{"path end", []KeySource{path}, fixed{path: "/accounts/a1"}, "a1", nil},
		{"path escaped", []KeySource{path}, fixed{path: "/accounts/a%3A1/balance"}, "a:1", nil},
		{"path dots", []KeySource{path}, fixed{path: "/accounts/%2e%2e/balance"}, "", ErrBadKey},
		{"path of another shape", []KeySource{path}, fixed{path: "/accounts/"}, "", ErrNoKey},
		{"path doubled slash", []KeySource{path}, fixed{path: "/accounts//x"}, "", ErrNoKey},
		{"path, then header", []KeySource{path, header}, fixed{path: "/transfers", headers: map[string][]string{"X-Account": {"a1"}}}, "a1", nil},
		{"only where it applies", []KeySource{{From: FromHeader, Name: "X-Account", Only: []string{"/transfers"}}, path}, fixed{path: "/accounts/a2/balance", headers: map[string][]string{"X-Account": {"a1"}}}, "a2", nil},
		{"regexp", []KeySource{{From: FromPathRegexp, Name: `^/v\d+/acc-(?P<kind>[a-z]+)-(?P<key>[0-9]+)`}}, fixed{path: "/v1/acc-gold-77/x"}, "77", nil},
		{"cookie", []KeySource{{From: FromCookie, Name: "account"}}, fixed{cookies: map[string]string{"account": "a1"}}, "a1", nil},
		{"json", []KeySource{field}, fixed{body: `{"to": {"account": "x"}, "from": {"bank": 1, "account": "a1"}}`}, "a1", nil},
		{"json number", []KeySource{field}, fixed{body: `{"from": {"account": 6222020012345678901}}`}, "6222020012345678901", nil},
		{"json number with a fraction", []KeySource{field}, fixed{body: `{"from": {"account": 1.0}}`}, "", ErrBadKey},
		{"json escaped", []KeySource{field}, fixed{body: `{"fr\u006fm": {"account": "a\u002d1"}}`}, "a-1", nil},
		{"json null", []KeySource{field, header}, fixed{body: `{"from": {"account": null}}`, headers: map[string][]string{"X-Account": {"h"}}}, "h", nil},
		{"json twice", []KeySource{field}, fixed{body: `{"from": {"account": "a1", "account": "a2"}}`}, "", ErrAmbiguousKey},
		{"json twice in other case", []KeySource{field}, fixed{body: `{"from": {"account": "a1", "Account": "a2"}}`}, "", ErrAmbiguousKey},
		{"json in other case", []KeySource{field}, fixed{body: `{"FROM": {"account": "a1"}}`}, "", ErrAmbiguousKey},
		{"json object twice", []KeySource{field}, fixed{body: `{"from": {"account": "a1"}, "from": {"account": "a2"}}`}, "", ErrAmbiguousKey},
		{"json twice, once escaped", []KeySource{field}, fixed{body: `{"from": {"account": "a1"}, "\u0066rom": {"account": "a2"}}`}, "", ErrAmbiguousKey},
		{"json of another type", []KeySource{field}, fixed{body: `{"from": {"account": ["a1"]}}`}, "", ErrBadKey},
		{"json array", []KeySource{field}, fixed{body: `[{"from": 1}]`}, "", ErrBadJSON},
		{"json and more", []KeySource{field}, fixed{body: `{"from": {"account": "a1"}} {}`}, "", ErrBadJSON},
		{"json cut off", []KeySource{field}, fixed{body: `{"from": {"account": "a1"`}, "", ErrBadJSON},
		{"json with a comment", []KeySource{field}, fixed{body: `{/* */"from": {"account": "a1"}}`}, "", ErrBadJSON},
		{"json too deep", []KeySource{field}, fixed{body: `{"x":` + strings.Repeat("[", 40) + strings.Repeat("]", 40) + `}`}, "", ErrBadJSON},
		{"no body", []KeySource{field}, fixed{}, "", ErrNoKey},
	} {
		t.Run(c.name, func(t *testing.T) {
			var buf [MaxKey]byte
			got, err := systemOf(t, c.keys...).Key(&c.req, buf[:0])
			if !errors.Is(err, c.err) || string(got) != c.want {
				t.Errorf("got %q, %v; want %q, %v", got, err, c.want, c.err)
			}
		})
	}
}

func TestSlotIsTheOneEverybodyComputes(t *testing.T) {
	for _, slots := range []int{1, 7, 1000, 1024, 65536} {
		in := testInput()
		in.Systems[0].Slots = slots
		in.Systems[0].Units = []Unit{{ID: "u1", Slots: []SlotRange{{0, estate.Slot(slots - 1)}}}}
		in.Owners = nil
		table, err := Compile(in)
		if err != nil {
			t.Fatal(err)
		}
		for _, key := range []string{"", "a", "6222020012345678901", strings.Repeat("z", 128)} {
			if got, _ := table.Systems[0].Lookup([]byte(key)); got != estate.SlotOf([]byte(key), slots) {
				t.Errorf("%d slots: key %q is in slot %d, want %d", slots, key, got, estate.SlotOf([]byte(key), slots))
			}
		}
	}
}

func TestRoutingAllocatesNothing(t *testing.T) {
	s := systemOf(t, KeySource{From: FromJSON, Name: "from"})
	body := []byte(`{"to":"b","from":"a\u002d1"}`)
	var buf [MaxKey]byte
	if n := testing.AllocsPerRun(100, func() {
		key, err := jsonField(body, []string{"from"}, buf[:0])
		if err != nil {
			t.Fatal(err)
		}
		s.Lookup(key)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestMatchPicksTheMostSpecificSystem(t *testing.T) {
	in := testInput()
	named := func(id estate.SystemID, hosts, paths []string) System {
		s := in.Systems[0]
		s.ID, s.Hosts, s.Paths = id, hosts, paths
		return s
	}
	table, err := Compile(Input{Systems: []System{
		named("any", nil, nil), named("core", nil, []string{"/core"}), named("host", []string{"Card.example"}, nil), named("deep", nil, []string{"/core/deep/"}),
	}})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ host, path, want string }{
		{"x", "/", "any"},
		{"x", "/core", "core"},
		{"x", "/core/1", "core"},
		{"x", "/corebank", "any"},
		{"x", "/core/deep/1", "deep"},
		{"card.EXAMPLE:8443", "/core", "host"},
		{"[::1]:80", "/core", "core"},
	} {
		if i := table.Match([]byte(c.host), []byte(c.path)); string(table.Systems[i].ID) != c.want {
			t.Errorf("%s%s went to %s, want %s", c.host, c.path, table.Systems[i].ID, c.want)
		}
	}
	if i := (&Table{}).Match(nil, []byte("/")); i != -1 {
		t.Errorf("an empty table matched %d", i)
	}
}

func TestReadsAreSafeMethodsAndListedPaths(t *testing.T) {
	in := testInput()
	in.Systems[0].Reads = []string{"/search/**"}
	table, err := Compile(in)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		method, path string
		want         bool
	}{{"GET", "/x", true}, {"HEAD", "/x", true}, {"OPTIONS", "/x", true}, {"POST", "/x", false}, {"PUT", "/x", false}, {"DELETE", "/x", false}, {"POST", "/search/x/y", true}, {"get", "/x", false}} {
		if got := table.Systems[0].Reads([]byte(c.method), []byte(c.path)); got != c.want {
			t.Errorf("%s %s reads: %v", c.method, c.path, got)
		}
	}
}

// FuzzJSONField compares the scan with encoding/json: what it finds is what a full parser finds, and it refuses what that refuses.
func FuzzJSONField(f *testing.F) {
	for _, s := range []string{`{"from":"a"}`, `{"a":[1,{"from":2}],"from":"\ud83d\ude00"}`, `{"from":1e3}`, `{"FROM":1}`, `{"from":null}`, `{}`, ``, `{"from":"a","from":"b"}`, "{\"fr\u006fm\":\"\\\\\"}", `{"x":-0.1E+2,"from":true}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		var buf [MaxKey]byte
		got, err := jsonField(body, []string{"from"}, buf[:0])
		if len(bytes.TrimSpace(body)) == 0 {
			return
		}
		var fields map[string]json.RawMessage
		invalid := json.Unmarshal(body, &fields) != nil
		if err != nil {
			return // refusing is always safe
		}
		if invalid {
			t.Fatalf("accepted %q, which is no JSON object", body)
		}
		raw, has := fields["from"]
		if !has || string(raw) == "null" {
			if got != nil {
				t.Fatalf("found %q in %q", got, body)
			}
			return
		}
		var text string
		if json.Unmarshal(raw, &text) != nil {
			text = string(raw) // a number
		}
		if got == nil || (string(got) != text && !strings.Contains(text, "\ufffd")) {
			t.Fatalf("found %q in %q, want %q", got, body, text)
		}
	})
}

// FuzzKey: whatever the request looks like, a key that is given out is valid, and it is the one that net/url finds.
func FuzzKey(f *testing.F) {
	f.Add("/accounts/a%20b/x", "account=1&b", "a1")
	f.Add("/accounts//", "account", "")
	f.Add("/accounts/%", "acc%6funt=%31", "\r\n")
	path, query, header := KeySource{From: FromPath, Name: "/accounts/{key}/**"}, KeySource{From: FromQuery, Name: "account"}, KeySource{From: FromHeader, Name: "H"}
	s := systemOf(f, path, query, header)
	f.Fuzz(func(t *testing.T, p, q, h string) {
		r := &fixed{path: p, query: q, headers: map[string][]string{"H": {h}}}
		var buf [MaxKey]byte
		key, err := s.Key(r, buf[:0])
		if err != nil {
			return
		}
		if !validKey(key) {
			t.Fatalf("gave out %q", key)
		}
		s.Lookup(key)
		if s.keys[0].path.matches([]byte(p)) {
			if want, err := url.PathUnescape(strings.Split(p, "/")[2]); err != nil || want != string(key) {
				t.Fatalf("path %q gave %q, want %q, %v", p, key, want, err)
			}
			return
		}
		if v, err := url.ParseQuery(q); err == nil && len(v["account"]) > 0 && (len(v["account"]) > 1 || v["account"][0] != string(key)) {
			t.Fatalf("query %q gave %q, want %q", q, key, v["account"])
		}
	})
}
