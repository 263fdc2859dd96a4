package gateway

import (
	"bytes"

	"perdure/internal/route"
	"perdure/sdk"
)

const maxCaller = 128

// scan reads the raw header block of a request once: it copies what may pass to x.wire, notes what the gateway itself needs,
// and refuses what two HTTP parsers might read differently. fasthttp has parsed the block already; this looks at what it lets through.
// The idempotency key stands in the header keyHeader; the application gets it under that name and as Idempotency-Key.
func (x *exchange) scan(raw []byte, keyHeader string) *problem {
	var framing int // Content-Length and Transfer-Encoding lines seen
	ordinary := keyHeader == route.DefaultKeyHeader
	for len(raw) > 0 {
		end := bytes.IndexByte(raw, '\n')
		if end < 1 || raw[end-1] != '\r' {
			return smuggled("a header line does not end in CRLF")
		}
		line := raw[:end-1]
		raw = raw[end+1:]
		if len(line) == 0 {
			if len(raw) != 0 {
				return smuggled("the header block has an empty line inside")
			}
			break
		}
		colon := bytes.IndexByte(line, ':')
		if colon < 1 || !token(line[:colon]) {
			return smuggled("a header name is not a token")
		}
		if bytes.IndexByte(line, '\r') >= 0 {
			return smuggled("a header value has a carriage return inside")
		}
		name, value := line[:colon], trim(line[colon+1:])
		keep := true
		if !ordinary && same(name, keyHeader) {
			if p := x.takeKey(value, keyHeader); p != nil {
				return p
			}
			x.wire = append(append(append(append(x.wire, keyHeader...), ": "...), value...), "\r\n"...)
			continue
		}
		switch lower(name[0]) {
		case 'c':
			switch {
			case is(name, "connection"):
				if !plainConnection(value) {
					return badRequest("the Connection header lists headers: send them end to end")
				}
				keep = false
			case is(name, "content-length"):
				if framing++; framing > 1 || !digits(value) {
					return smuggled("Content-Length has to be one decimal number, without Transfer-Encoding")
				}
				keep = false
			}
		case 'e':
			keep = !is(name, "expect")
		case 'h':
			keep = !is(name, "http2-settings")
		case 'i':
			if is(name, "idempotency-key") {
				keep = false
				if !ordinary {
					break // the application must not see another key than we do
				}
				if p := x.takeKey(value, keyHeader); p != nil {
					return p
				}
			}
		case 'k':
			keep = !is(name, "keep-alive")
		case 'p':
			switch {
			case len(name) >= 8 && is(name[:8], "perdure-"):
				if is(name, "perdure-caller") {
					if x.caller != nil || len(value) == 0 || len(value) > maxCaller || !visible(value) {
						return badRequest("Perdure-Caller has to be one value of 1 to 128 visible ASCII characters")
					}
					x.caller = value
				}
				keep = false
			case is(name, "proxy-connection"), is(name, "proxy-authorization"):
				keep = false
			}
		case 't':
			switch {
			case is(name, "transfer-encoding"):
				if framing++; framing > 1 || !is(value, "chunked") {
					return smuggled("Transfer-Encoding has to be chunked alone, without Content-Length")
				}
				keep = false
			case is(name, "te"), is(name, "trailer"):
				keep = false
			}
		case 'u':
			keep = !is(name, "upgrade")
		}
		if keep {
			x.wire = append(append(x.wire, line...), '\r', '\n')
		}
	}
	return nil
}

// takeKey takes the idempotency key in as the application records it, and writes the header for the application as the client has it.
func (x *exchange) takeKey(value []byte, header string) *problem {
	if x.idem != nil {
		return badRequest(header + " occurs more than once")
	}
	key, err := sdk.AppendKey(x.idemBuf[:0], value)
	if err != nil {
		return badRequest(header + " has to be 1 to 255 printable ASCII characters: bare without spaces, quotes, backslashes, commas and semicolons, " +
			"or as a structured-field string in double quotes")
	}
	x.idem = key
	// Written anew: an underscore in the name or padding must not make the application see another key than we do.
	x.wire = append(append(append(x.wire, "Idempotency-Key: "...), value...), "\r\n"...)
	return nil
}

// same compares two header names; underscores count as dashes.
func same(a []byte, b string) bool {
	if len(a) != len(b) {
		return false
	}
	for i, c := range a {
		if folded(c) != folded(b[i]) {
			return false
		}
	}
	return true
}

func folded(c byte) byte {
	if c == '_' {
		return '-'
	}
	return lower(c)
}

// is compares a header name with a lower-case one; underscores count as dashes, because some servers do not tell them apart.
func is(b []byte, want string) bool {
	if len(b) != len(want) {
		return false
	}
	for i, c := range b {
		if folded(c) != want[i] {
			return false
		}
	}
	return true
}

func lower(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		return c + 'a' - 'A'
	}
	return c
}

func trim(b []byte) []byte {
	for len(b) > 0 && (b[0] == ' ' || b[0] == '\t') {
		b = b[1:]
	}
	for len(b) > 0 && (b[len(b)-1] == ' ' || b[len(b)-1] == '\t') {
		b = b[:len(b)-1]
	}
	return b
}

func digits(b []byte) bool {
	if len(b) == 0 || len(b) > 18 {
		return false
	}
	for _, c := range b {
		if c < '0' || c > '9' {
			return false
		}
	}
	return true
}

func visible(b []byte) bool {
	for _, c := range b {
		if c < 0x21 || c > 0x7e {
			return false
		}
	}
	return true
}

// token reports whether b is a header name by RFC 9110.
func token(b []byte) bool {
	for _, c := range b {
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '-', c == '_':
		case c == '!', c == '#', c == '$', c == '%', c == '&', c == '\'', c == '*', c == '+', c == '.', c == '^', c == '`', c == '|', c == '~':
		default:
			return false
		}
	}
	return true
}

// plainConnection reports whether a Connection header names nothing but the options every proxy deals with itself.
func plainConnection(v []byte) bool {
	for len(v) > 0 {
		one := v
		if i := bytes.IndexByte(v, ','); i >= 0 {
			one, v = v[:i], v[i+1:]
		} else {
			v = nil
		}
		one = trim(one)
		if len(one) > 0 && !is(one, "close") && !is(one, "keep-alive") && !is(one, "upgrade") && !is(one, "te") && !is(one, "http2-settings") {
			return false
		}
	}
	return true
}

// begin checks the request line and begins x.wire with it.
func (x *exchange) begin(method, uri, protocol []byte) *problem {
	if string(protocol) != "HTTP/1.1" && string(protocol) != "HTTP/1.0" {
		return smuggled("only HTTP/1.1 and HTTP/1.0 are spoken here")
	}
	if len(uri) == 0 || uri[0] != '/' {
		return badRequest("the request target has to be a path")
	}
	for _, c := range uri {
		if c < 0x21 || c > 0x7e || c == '#' || c == '\\' {
			return badRequest("the request target has characters that have to be percent-encoded")
		}
	}
	switch string(method) {
	case "CONNECT", "TRACE":
		return &problem{status: 405, slug: "method", title: "The method is not allowed", detail: "CONNECT and TRACE are not forwarded", close: true}
	}
	x.wire = append(append(append(append(x.wire[:0], method...), ' '), uri...), " HTTP/1.1\r\n"...)
	x.path, x.query = uri, nil
	if before, after, ok := bytes.Cut(uri, []byte{'?'}); ok {
		x.path, x.query = before, after
	}
	return nil
}

// Path, Query, Header, Cookie and Body make the exchange a route.Request.
func (x *exchange) Path() []byte { return x.path }

// Query gives the raw query.
func (x *exchange) Query() []byte { return x.query }

// Header gives the only value of the header.
func (x *exchange) Header(name string) ([]byte, bool) {
	all := x.ctx.Request.Header.PeekAll(name)
	switch len(all) {
	case 0:
		return nil, false
	case 1:
		if all[0] == nil {
			return nil, false
		}
		return trim(all[0]), false
	}
	return nil, true
}

// Cookie gives the value of the cookie.
func (x *exchange) Cookie(name string) []byte {
	v := x.ctx.Request.Header.Cookie(name)
	if len(v) == 0 {
		return nil
	}
	return v
}

// Body gives the whole body.
func (x *exchange) Body() []byte { return x.body }

var _ route.Request = (*exchange)(nil)
