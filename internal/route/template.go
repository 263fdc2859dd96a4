package route

import (
	"bytes"
	"strings"

	"perdure/internal/errs"
)

// template is a path pattern over the raw (still percent-encoded) path: "/accounts/{key}/*", "/public/**".
type template struct {
	segments []string // "" stands for any one segment
	rest     bool     // anything may follow
	key      int      // index of {key}, -1 where there is none
}

func parseTemplate(text string) (template, error) {
	p := template{key: -1}
	if !strings.HasPrefix(text, "/") {
		return p, errs.New(errs.Invalid, "path template %q does not start with /", text)
	}
	if before, ok := strings.CutSuffix(text, "/**"); ok {
		text, p.rest = before, true
		if text == "" {
			return p, nil
		}
	}
	for i, seg := range strings.Split(text[1:], "/") {
		switch {
		case seg == "{key}":
			if p.key >= 0 {
				return p, errs.New(errs.Invalid, "path template %q has {key} twice", text)
			}
			p.key = i
			seg = ""
		case seg == "*":
			seg = ""
		case strings.ContainsAny(seg, "{}*"):
			return p, errs.New(errs.Invalid, "path template %q: segment %q is neither text, * nor {key}", text, seg)
		case seg == "" && text != "/":
			return p, errs.New(errs.Invalid, "path template %q has an empty segment", text)
		}
		p.segments = append(p.segments, seg)
	}
	if text == "/" {
		p.segments = nil
	}
	return p, nil
}

// capture matches the path and gives the raw text of {key}; nil with true where the template has no {key}.
func (p *template) capture(path []byte) ([]byte, bool) {
	if len(path) == 0 || path[0] != '/' {
		return nil, false
	}
	rest := path[1:]
	var key []byte
	for i, want := range p.segments {
		if i > 0 {
			if len(rest) == 0 || rest[0] != '/' {
				return nil, false
			}
			rest = rest[1:]
		}
		end := bytes.IndexByte(rest, '/')
		if end < 0 {
			end = len(rest)
		}
		seg := rest[:end]
		if len(seg) == 0 || (want != "" && string(seg) != want) {
			return nil, false
		}
		if i == p.key {
			key = seg
		}
		rest = rest[end:]
	}
	if len(rest) > 0 && !p.rest {
		return nil, false
	}
	return key, true
}

func (p *template) matches(path []byte) bool {
	_, ok := p.capture(path)
	return ok
}
